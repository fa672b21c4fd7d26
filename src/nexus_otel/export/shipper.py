"""Delivers what waits in the spool, destination by destination, and decides when to try again."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nexus_otel._guard import logger, note_once, quietly
from nexus_otel.export.advice import advice
from nexus_otel.export.answer import Answer, Outcome
from nexus_otel.export.claim import claimed
from nexus_otel.export.cutting import ever_shorter
from nexus_otel.export.destinations import Destination
from nexus_otel.export.owner import has_ended, this_process
from nexus_otel.export.places import store_folders
from nexus_otel.export.segment import Header, Target, read_header, segments
from nexus_otel.export.shipment import Batch, MemorySource, Seen, SegmentSource, Source
from nexus_otel.export.spool import Spool
from nexus_otel.export.transport import HasWay, To, Way, way_to

LONGEST_WAIT_S: Final = 30.0
REFUSED_WAIT_S: Final = 60.0
_LOOK_S: Final = 30.0
"""How often it is looked for segments that other processes left."""
_REASON_CHARS: Final = 200
_DOUBTED: Final = 3
"""After how many failures in a row it may be the record."""
_FOR_EVER: Final = float("inf")


@dataclass(slots=True)
class _Line:
    """One destination, and how it fares."""

    destination: To
    target: Target
    transport: Way
    next_try: float = 0.0
    failures: int = 0
    patient: bool = False
    trouble: Outcome | None = None
    said: str = ""
    most: int | None = None
    done: set[Path] = field(default_factory=set)
    seen: Seen = field(default_factory=Seen)


class Shipper:
    """The way from the spool to the destinations; one thread at a time.

    Attributes:
        sent: How many requests arrived.
        rejected: How many items of them a destination did not take.
        is_held: Whether another process was sending something that its own process left, in the last round.
    """

    def __init__(self, home: Path, destinations: Sequence[Destination | HasWay], spool: Spool | None = None) -> None:
        self._home = home
        self._spool = spool
        self._lines = [_Line(one, one.target, way_to(one)) for one in destinations]
        self._positions = dict.fromkeys((one.signal for one in destinations), 0)
        self._headers: dict[Path, Header | None] = {}
        self.look_at = 0.0
        self.sent = 0
        self.rejected = 0
        self.is_held = False

    @property
    def next_try(self) -> float:
        """When it is time to try again, on the monotonic clock; infinite when nothing failed."""
        return min((line.next_try for line in self._lines if line.failures), default=_FOR_EVER)

    @property
    def refusals(self) -> tuple[str, ...]:
        """Which destinations refuse data now, and what to look at."""
        return tuple(line.said for line in self._lines if line.trouble is Outcome.REFUSED)

    def hurry(self) -> None:
        """Let the next round try even destinations that lately did not answer, unless they asked us to wait."""
        for line in self._lines:
            if not line.patient:
                line.next_try = 0.0
        self.look_at = 0.0

    def hang_up(self) -> None:
        """Give up the requests that are under way; what they carry stays."""
        for line in self._lines:
            line.transport.close()

    def round(self, until: float = _FOR_EVER) -> bool:
        """Send everything that waits.

        Args:
            until: When to give up, on the monotonic clock.

        Returns:
            Whether everything was delivered.
        """
        self.is_held = False
        look = time.monotonic() >= self.look_at
        if look:
            self.look_at = time.monotonic() + _LOOK_S
        if self._spool is not None:
            self._spool.flush()
        results = [self._send_line(line, until, look=look or line.failures > 0) for line in self._lines]
        return all(results)

    def put_away(self) -> None:
        """Finish the closed segments of this process of which everything arrived."""
        for line in self._lines:
            for path, header in self._segments(line)[0]:
                with self._source(line, path, header) as source, suppress(FileNotFoundError):
                    if source is not None:
                        source.batch()

    def _send_line(self, line: _Line, until: float, *, look: bool) -> bool:
        if time.monotonic() < line.next_try:
            return False
        ours, others = self._segments(line)
        return (
            self._send_segments(line, ours, until)
            and (self._spool is None or self._send(line, self._memory(line, self._spool), until))
            and (not look or self._send_segments(line, others, until))
        )

    def _memory(self, line: _Line, spool: Spool) -> MemorySource:
        return MemorySource(spool, line.target.signal, self._positions)

    def _send_segments(self, line: _Line, found: list[tuple[Path, Header]], until: float) -> bool:
        for path, header in found:
            with self._source(line, path, header) as source, suppress(FileNotFoundError):
                if source is None:
                    self.is_held |= has_ended(header.owner) is True
                elif not self._send(line, source, until):
                    return False
                elif source.is_done:
                    line.done.add(path)
        return True

    def _segments(self, line: _Line) -> tuple[list[tuple[Path, Header]], list[tuple[Path, Header]]]:
        """Return the segments of this process that may go to a destination, and those of others."""
        ours: list[tuple[Path, Header]] = []
        others: list[tuple[Path, Header]] = []
        paths = [path for folder in store_folders(self._home) for path in segments(folder)]
        self._headers = {path: self._headers.get(path) or quietly(read_header, path) for path in paths}
        line.done &= set(paths)
        line.seen.delivered = {path: end for path, end in line.seen.delivered.items() if path in self._headers}
        for path, header in self._headers.items():
            if header is not None and line.target in header.targets and path not in line.done:
                (ours if header.owner == this_process() else others).append((path, header))
        return ours, others

    @contextmanager
    def _source(self, line: _Line, path: Path, header: Header) -> Iterator[SegmentSource | None]:
        """Give a segment while nobody else may send it; None where somebody else does."""
        if self._spool is not None and path == self._spool.live_segment:
            yield SegmentSource(path, header, line.target, line.seen, live=True)
            return
        with claimed(path, header.owner) as ours:
            yield SegmentSource(path, header, line.target, line.seen, live=False) if ours else None

    def _send(self, line: _Line, source: Source, until: float) -> bool:
        """Send all that waits in a source; whether it all arrived."""
        while (batch := source.batch()) is not None:
            left = until - time.monotonic()
            if left <= 0:
                return False
            if line.most is not None:
                batch = batch.first(line.most)
            answer = line.transport.post(b"".join(batch.payloads), left)
            if answer.outcome is Outcome.TOO_LARGE and len(batch.payloads) == 1 and line.target.signal == "traces":
                answer = _cut_down(line, batch.payloads[0], until) or answer
                if answer.outcome is Outcome.DELIVERED:
                    source.set_aside(batch.payloads[0])
            if not self._settle(line, source, batch, answer) and not self._passed(line, source, left):
                return False
        return True

    def _passed(self, line: _Line, source: Source, left: float) -> bool:
        """Pass over a record that a destination never takes, where it does not say so but takes the next one."""
        if not line.transport.is_blind:
            return False
        line.most = 1
        batch = source.batch() if line.failures >= _DOUBTED else None
        if batch is None or len(batch.payloads) < 2:  # noqa: PLR2004 - the one and the next
            return False
        if line.transport.post(batch.payloads[1], left).outcome is not Outcome.DELIVERED:
            return False
        again = line.transport.post(batch.payloads[0], left)  # it may have been the destination, well again since
        if again.outcome is not Outcome.DELIVERED:
            source.set_aside(batch.payloads[0])
            note_once(
                "sending a record that is never taken",
                "nexus-otel: %s takes other records but not one of %d bytes; it is kept in the local store only",
                line.destination.endpoint,
                len(batch.payloads[0]),
            )
        source.delivered(batch.ends[1])
        self._arrived(line, 1, Answer(Outcome.DELIVERED, ""))
        return True

    def _settle(self, line: _Line, source: Source, batch: Batch, answer: Answer) -> bool:
        """Act on an answer; whether to go on."""
        count = len(batch.payloads)
        if answer.outcome is Outcome.TOO_LARGE and count > 1:
            line.most = count // 2
            return True
        if answer.outcome is Outcome.TOO_LARGE:
            source.set_aside(batch.payloads[0])
            note_once(
                "sending a record that is too large",
                "nexus-otel: %s takes no request of %d bytes; it is kept in the local store only",
                line.destination.endpoint,
                len(batch.payloads[0]),
            )
        elif answer.outcome is not Outcome.DELIVERED:
            _postpone(line, answer)
            return False
        source.delivered(batch.ends[-1])
        self._arrived(line, count, answer)
        return True

    def _arrived(self, line: _Line, count: int, answer: Answer) -> None:
        if line.trouble is not None:
            logger.info("nexus-otel delivers to %s again", line.destination.endpoint)
        line.failures, line.next_try, line.patient, line.trouble = 0, 0.0, False, None
        line.most = line.most * 2 if line.most is not None and line.most < 1_000 else None  # noqa: PLR2004
        self.sent += count
        self.rejected += answer.rejected
        if answer.rejected:
            note_once(
                "delivering: items were rejected",
                "nexus-otel: %s rejected %d items of a request that it accepted: %s (said once)",
                line.destination.endpoint,
                answer.rejected,
                answer.reason[:_REASON_CHARS] or "it does not say why",
            )


def _cut_down(line: _Line, payload: bytes, until: float) -> Answer | None:
    """Send a record that is too large with its long values cut; None where no cut makes it small enough."""
    for shorter in ever_shorter(payload):
        answer = line.transport.post(shorter, until - time.monotonic())
        if answer.outcome is Outcome.DELIVERED:
            note_once(
                "sending a record that is too large, cut",
                "nexus-otel: %s takes no request of %d bytes; it was sent with long values cut to %d bytes in all, "
                "and is kept whole in the local store (said once)",
                line.destination.endpoint,
                len(payload),
                len(shorter),
            )
        if answer.outcome is not Outcome.TOO_LARGE:
            return answer
    return None


def _postpone(line: _Line, answer: Answer) -> None:
    """Set when to try again, and say so at the start of an outage."""
    refused = answer.outcome is Outcome.REFUSED
    wait = min(LONGEST_WAIT_S, 2.0 ** min(line.failures, 10)) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
    if refused:
        wait = REFUSED_WAIT_S
    line.failures += 1
    line.patient = refused or answer.wait_s is not None
    line.next_try = time.monotonic() + max(wait, answer.wait_s or 0.0)
    if line.trouble is not answer.outcome:
        line.trouble = answer.outcome
        how = "refuses data" if refused else "takes no data now"
        what = f"{answer.what}{advice(line.target.signal, answer.what)}" if refused else answer.what
        line.said = f"{line.destination.endpoint} {how} ({what})"
        logger.warning("nexus-otel: %s; it is kept and sent later", line.said)
