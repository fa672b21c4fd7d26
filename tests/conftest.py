"""What holds for all tests."""

import signal

# in the background of a shell an interrupt is ignored, and so it is by every program that is started from there
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
