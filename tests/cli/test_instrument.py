"""The launcher, run as a person runs it."""

import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from importlib.metadata import version
from pathlib import Path

import pytest

import nexus_otel._version
from nexus_otel.cli import instrument, interpreter

SOURCE = str(Path(nexus_otel._version.__file__).parents[1])
BOOT = str(Path(SOURCE, "nexus_otel", "bootstrap", "boot"))
BIN = str(Path(sys.executable).parent)

# Stands for the real activation: as a user's sitecustomize it runs before it.
RECORDER = """
import os, sys, types
module = types.ModuleType("nexus_otel.bootstrap.activate")
def activate(source):
    sys.nexus_activated = [*getattr(sys, "nexus_activated", []), source]
module.activate = activate
sys.modules[module.__name__] = module
"""


def environment(**more):
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NEXUS_", "_NEXUS_", "OTEL_", "PYTHON", "COV", "COVERAGE"))
    }
    path = BIN + os.pathsep + kept.get("PATH", "")
    return {**kept, "PATH": path, "PYTHONPATH": SOURCE, "NEXUS_ENABLED": "false", **more}


def launch(*arguments, python_path="", stdin="", env=None, **options):
    given = environment(**(env or {}))
    if python_path:
        given["PYTHONPATH"] = os.pathsep.join([str(python_path), SOURCE])
    return subprocess.run(
        [sys.executable, "-m", "nexus_otel.cli.instrument", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env=given,
        check=False,
        **options,
    )


def written(folder, name, text, *, executable=False):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    if executable:
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def stub(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    written(folder, "sitecustomize.py", RECORDER)
    return folder


def test_the_program_gets_its_arguments_and_stdin_and_gives_its_exit_code(tmp_path):
    script = written(tmp_path, "agent.py", "import sys; print(sys.argv[1:], sys.stdin.read()); sys.exit(7)")
    done = launch("python", script, "--export", "x y", "--", "-h", stdin="hello")
    assert (done.returncode, done.stdout) == (7, "['--export', 'x y', '--', '-h'] hello\n")


def test_the_output_is_that_of_the_bare_program(tmp_path, stub):
    script = written(tmp_path, "agent.py", "import sys; print('out'); print('err', file=sys.stderr)")
    done = launch("python", script, python_path=stub)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_the_program_is_activated_once(stub):
    done = launch("python", "-c", "import sys; print(sys.nexus_activated)", python_path=stub)
    assert done.stdout == "['launcher']\n"


def test_a_module_is_activated(tmp_path, stub):
    written(stub, "agent.py", "import sys; print(sys.nexus_activated, sys.argv[1:])")
    done = launch("python", "-m", "agent", "-I", python_path=stub)
    assert (done.stdout, done.stderr) == ("['launcher'] ['-I']\n", "")


def test_a_console_script_is_activated(tmp_path, stub):
    text = f"#!{sys.executable}\nimport sys; print(sys.nexus_activated, sys.argv[1:])\n"
    script = written(tmp_path, "agent", text, executable=True)
    done = launch(script, "one", python_path=stub)
    assert (done.stdout, done.stderr) == ("['launcher'] ['one']\n", "")


def test_a_command_is_found_on_the_path(tmp_path, stub):
    text = "#!/usr/bin/env python\nimport sys; print(sys.nexus_activated)\n"
    written(tmp_path, "my-agent", text, executable=True)
    path = os.pathsep.join([str(tmp_path), BIN, os.defpath])
    assert launch("my-agent", python_path=stub, env={"PATH": path}).stdout == "['launcher']\n"


def test_python_below_a_shell_script_is_activated(tmp_path, stub):
    text = "#!/bin/sh\npython -c 'import sys; print(sys.nexus_activated)'\nexit 3\n"
    script = written(tmp_path, "agent.sh", text, executable=True)
    done = launch(script, python_path=stub)
    assert (done.returncode, done.stdout) == (3, "['launcher']\n")


def test_a_script_without_its_first_line_runs_as_in_a_shell(tmp_path):
    script = written(tmp_path, "agent", 'echo "$1"\n', executable=True)
    assert launch(script, "one").stdout == "one\n"


def test_children_are_activated_too(stub):
    code = (
        "import subprocess, sys;"
        "subprocess.run([sys.executable, '-c', 'import sys; print(sys.nexus_activated)'], check=True)"
    )
    assert launch("python", "-c", code, python_path=stub).stdout == "['launcher']\n"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_signals_reach_the_program(tmp_path, name):
    script = written(
        tmp_path,
        "agent.py",
        f"""
        import os, signal, time
        def end(number, frame):
            os.write(1, f"got {{signal.Signals(number).name}}\\n".encode())
            os._exit(5)
        signal.signal(signal.{name}, end)
        os.write(1, b"ready\\n")
        time.sleep(60)
        """,
    )
    command = [sys.executable, "-m", "nexus_otel.cli.instrument", "python", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(getattr(signal, name))
        assert process.stdout.read() == f"got {name}\n"
    assert process.returncode == 5


def test_death_by_a_signal_is_seen_as_such(tmp_path):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    assert launch("python", "-c", code).returncode == -signal.SIGTERM


def test_a_broken_pipe_ends_the_program_as_it_does_bare():
    done = launch("sh", "-c", "(while :; do echo line; done; echo survived >&2) | head -1")
    assert (done.stdout, done.stderr) == ("line\n", "")


# -- settings ------------------------------------------------------------------------------------------


def test_options_set_the_variables_of_the_program(tmp_path):
    code = "import os; print(os.environ['NEXUS_EXPORT'], os.environ['NEXUS_HOME'])"
    options = ["--export", "local", "--home=here"]
    done = launch(*options, "python", "-c", code, cwd=tmp_path)
    assert done.stdout == f"local {tmp_path / 'here'}\n"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--exprt", "local"],
            "nexus-instrument: unknown option --exprt; there are: --enabled, --home, --export,",
        ),
        (
            ["--export"],
            "nexus-instrument: --export needs a value: comma list of local, otlp, nexus, none",
        ),
        (
            ["--export", "nexus"],
            "nexus-instrument: NEXUS_EXPORT='nexus': expected a key in NEXUS_API_KEY for nexus",
        ),
        (
            ["--export", "lokal"],
            "nexus-instrument: NEXUS_EXPORT='lokal': expected a comma list of local, otlp",
        ),
        (["--summary=maybe"], "nexus-instrument: NEXUS_SUMMARY='maybe': expected auto, always, never"),
    ],
)
def test_a_bad_option_is_one_line_and_nothing_runs(options, line):
    done = launch(*options, *(["sh", "-c", "echo ran"] if len(options) > 1 or "=" in options[0] else []))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_a_bad_variable_is_one_line_and_nothing_runs():
    done = launch("sh", "-c", "echo ran", env={"NEXUS_DURABILITY": "fast"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "nexus-instrument: NEXUS_DURABILITY='fast': expected sync, batch, memory\n"


def test_no_command_is_a_usage_error():
    done = launch()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: nexus-instrument [options] COMMAND [ARGS...]\n")


def test_help_names_every_setting():
    done = launch("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in instrument.options())


def test_help_survives_a_reader_that_leaves(tmp_path):
    command = f'"{sys.executable}" -m nexus_otel.cli.instrument --help | true'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment(), check=True)
    assert done.stderr == ""


def test_version():
    assert launch("--version").stdout == f"nexus-instrument {nexus_otel._version.__version__}\n"


# -- what cannot be run --------------------------------------------------------------------------------


def test_a_command_that_is_not_there_is_127():
    done = launch("no-such-program", "x")
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == "nexus-instrument: no-such-program: command not found\n"


def test_a_script_given_without_python_gets_a_hint(tmp_path):
    written(tmp_path, "agent.py", "")
    done = launch("agent.py", cwd=tmp_path)
    assert done.returncode == 127
    assert done.stderr.endswith("did you mean: nexus-instrument python agent.py\n")


def test_a_python_that_is_only_beside_the_launcher_gets_a_hint(tmp_path):
    done = launch("python", "agent.py", env={"PATH": str(tmp_path)})
    assert done.returncode == 127
    assert done.stderr.endswith(f"did you mean: nexus-instrument {BIN}/python\n")


def test_a_file_that_may_not_run_is_126(tmp_path):
    script = written(tmp_path, "agent", "#!/bin/sh\n")
    done = launch(script)
    assert (done.returncode, done.stderr) == (126, f"nexus-instrument: {script}: permission denied\n")


def test_a_folder_is_126(tmp_path):
    done = launch(tmp_path)
    assert (done.returncode, done.stderr) == (126, f"nexus-instrument: {tmp_path}: is a directory\n")


def test_a_missing_interpreter_is_126(tmp_path):
    script = written(tmp_path, "agent", "#!/no/such/python\n", executable=True)
    done = launch(script)
    assert done.returncode == 126
    assert done.stderr == f"nexus-instrument: {script}: bad interpreter: No such file or directory\n"


# -- interpreters out of reach -------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["-I", "-E", "-IB", "-BE"])
def test_an_isolated_python_runs_and_is_said_not_to_be_recorded(flag):
    done = launch("python", flag, "-c", "print('ran')")
    assert done.stdout == "ran\n"
    assert done.stderr.startswith(f"nexus-instrument: python -{flag.strip('-B')} ignores PYTHONPATH")
    assert "import nexus_otel.auto" in done.stderr
    assert done.stderr.count("\n") == 1


def test_python_without_site_runs_and_is_said_not_to_be_recorded():
    done = launch("python", "-S", "-c", "print('ran')")
    assert done.stdout == "ran\n"
    assert done.stderr.startswith("nexus-instrument: python -S starts without site")


def test_a_script_with_an_isolating_first_line_is_said_not_to_be_recorded(tmp_path):
    script = written(tmp_path, "agent", f"#!{sys.executable} -I\nprint('ran')\n", executable=True)
    done = launch(script)
    assert done.stdout == "ran\n"
    assert done.stderr.startswith("nexus-instrument: python -I ignores PYTHONPATH")


def test_the_python_of_another_environment_is_said_once(tmp_path):
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(other)], check=True)
    done = launch(other / "bin" / "python", "-c", "print('ran')")
    assert done.stdout == "ran\n"
    assert done.stderr.startswith(f"nexus-instrument: {other}/bin/python is not the Python of {sys.prefix}")
    assert done.stderr.count("\n") == 1


def test_another_environment_behind_a_shim_is_said_by_the_program_itself(tmp_path):
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(other)], check=True)
    shim = written(tmp_path, "python", f'#!/bin/sh\nexec "{other}/bin/python" "$@"\n', executable=True)
    done = launch(shim, "-c", "print('ran')")
    assert done.stdout == "ran\n"
    assert f"this is the Python of {other}, nexus-otel is installed in {sys.prefix}" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["-I"], "I"),
        (["-uE", "x.py"], "E"),
        (["-X", "dev", "-S"], "S"),
        (["-Xdev", "-I"], "I"),
        (["-W", "-I"], None),
        (["-c", "-I"], None),
        (["-m", "x", "-I"], None),
        (["x.py", "-I"], None),
        (["--check-hash-based-pycs", "never", "-I"], "I"),
        (["-", "-I"], None),
        (["-sP"], None),
        ([], None),
    ],
)
def test_flags_of_the_interpreter(arguments, flag):
    assert interpreter.isolating(arguments) == flag


# -- the user's own sitecustomize ----------------------------------------------------------------------


def test_the_users_sitecustomize_runs_under_its_own_name(tmp_path):
    written(tmp_path, "sitecustomize.py", "print('mine', __name__)\nvalue = 1")
    code = "import sys, sitecustomize; print(sitecustomize.value, sitecustomize.__file__)"
    done = launch("python", "-c", code, python_path=tmp_path)
    assert done.stdout == f"mine sitecustomize\n1 {tmp_path}/sitecustomize.py\n"


def test_without_a_users_sitecustomize_ours_stands_there(tmp_path):
    code = "import sitecustomize; print(sitecustomize.__file__)"
    assert launch("python", "-c", code).stdout == f"{BOOT}/sitecustomize.py\n"


def test_an_error_of_the_users_sitecustomize_is_printed_as_it_is_bare_and_we_are_activated(tmp_path):
    written(tmp_path, "sitecustomize.py", RECORDER + "\nraise ValueError('mine')")
    code = "import sys; print('sitecustomize' in sys.modules, getattr(sys, 'nexus_activated', None))"
    bare = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(PYTHONPATH=str(tmp_path)),
        check=True,
    )
    done = launch("python", "-c", code, python_path=tmp_path)
    assert "ValueError: mine" in bare.stderr
    # twice: the launcher is a Python too
    assert (done.stdout, done.stderr) == ("False ['launcher']\n", 2 * bare.stderr)


def test_a_missing_import_of_the_users_sitecustomize_is_not_hidden(tmp_path):
    written(tmp_path, "sitecustomize.py", "import no_such_module")
    assert "No module named 'no_such_module'" in launch("python", "-c", "", python_path=tmp_path).stderr


def test_what_the_users_sitecustomize_does_to_the_search_is_kept(tmp_path):
    written(tmp_path, "sitecustomize.py", "import sys; sys.path.insert(0, '/first')")
    done = launch("python", "-c", "import sys; print('/first' in sys.path)", python_path=tmp_path)
    assert done.stdout == "True\n"


def test_an_error_of_ours_is_one_line_and_the_program_runs(stub):
    with (stub / "sitecustomize.py").open("a") as file:
        file.write("\ndef activate(source): raise RuntimeError('ours')\nmodule.activate = activate\n")
    done = launch("python", "-c", "print('ran')", python_path=stub)
    assert done.stdout == "ran\n"
    assert done.stderr == "nexus-instrument: the run is not recorded: RuntimeError: ours\n"


def test_nothing_happens_without_the_launchers_variables(stub):
    path = os.pathsep.join([BOOT, str(stub), SOURCE])
    code = "import sys; print(hasattr(sys, 'nexus_activated'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(PYTHONPATH=path),
        check=True,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_the_search_path_of_modules_is_the_users_after_our_folder(tmp_path):
    code = "import os; print(os.environ['PYTHONPATH'])"
    done = launch("python", "-c", code, python_path=tmp_path)
    assert done.stdout.strip().split(os.pathsep) == [BOOT, str(tmp_path), SOURCE]


def test_launched_twice_our_folder_is_there_once(stub):
    code = "import os, sys; print(os.environ['PYTHONPATH'].count('bootstrap'), sys.nexus_activated)"
    done = launch(sys.executable, "-m", "nexus_otel.cli.instrument", "python", "-c", code, python_path=stub)
    assert done.stdout == "1 ['launcher']\n"


@pytest.mark.parametrize("first", ["nexus", "opentelemetry"])
def test_beside_opentelemetry_instrument(first, stub):
    other = Path(BIN, "opentelemetry-instrument")
    if not other.exists():
        pytest.skip("opentelemetry-instrument is not installed")
    env = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    code = "import sys; print(sys.modules['sitecustomize'].__file__)"
    ours = [sys.executable, "-m", "nexus_otel.cli.instrument"]
    command = [*ours, other] if first == "nexus" else [other, *ours]
    done = subprocess.run(
        [*command, "python", "-c", code],
        capture_output=True,
        text=True,
        env=environment(**env),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if first == "nexus" or not version("opentelemetry-instrumentation").startswith("0.58"):
        # release 0.58 takes itself out of what it starts
        assert "auto_instrumentation" in done.stdout


def test_the_launcher_imports_nothing_heavy():
    code = (
        "import sys, nexus_otel.cli.instrument;"
        "print({m.split('.')[0] for m in sys.modules} & {'click', 'rich', 'opentelemetry', 'wrapt', 'orjson'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout == "set()\n"


def test_the_launcher_becomes_the_program():
    started = time.monotonic()
    done = launch("python", "-c", "import os; print(os.environ['_NEXUS_LAUNCHER_PID'] == str(os.getpid()))")
    assert done.stdout == "True\n"
    assert time.monotonic() - started < 30
