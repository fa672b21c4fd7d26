from __future__ import annotations

import os

import pytest

from nexus_otel.config import NexusError
from nexus_otel.export.owner import Owner, has_ended, this_process
from nexus_otel.export.segment import (
    BLOB,
    SPANS,
    ForeignFileError,
    Target,
    new_header,
    pack,
    read_header,
    read_records,
    segment_name,
    segments,
)  # fmt: skip

PAYLOADS = [b"first", b"", b"\x00" * 40, os.urandom(300), b"last"]


@pytest.fixture
def segment(tmp_path):
    header = new_header((Target("traces", "http://c/v1/traces", "ab"),), "local", {"service.name": "a"}, keep=False)
    path = tmp_path / segment_name(header, 1)
    path.write_bytes(header.encode() + b"".join(pack(SPANS, payload) for payload in PAYLOADS))
    return path


def payloads(path):
    return [payload for _kind, payload, _end in read_records(path)]


def start_of(path, number):
    """Where record `number` begins."""
    ends = [end for _kind, _payload, end in read_records(path)]
    return ends[number] - len(PAYLOADS[number]) - 9


def test_records_and_header_come_back(segment):
    records = read_records(segment)
    assert [(kind, payload) for kind, payload, _end in records] == [(SPANS, payload) for payload in PAYLOADS]
    assert records.header.owner == this_process()
    assert records.header.targets == (Target("traces", "http://c/v1/traces", "ab"),)
    assert (records.end, records.skipped, records.torn) == (segment.stat().st_size, 0, False)
    assert read_header(segment) == records.header


def test_cut_at_every_byte_all_before_is_read(segment):
    data = segment.read_bytes()
    ends = [end for _kind, _payload, end in read_records(segment)]
    for size in range(len(data)):
        segment.write_bytes(data[:size])
        assert payloads(segment) == PAYLOADS[: sum(end <= size for end in ends)]


@pytest.mark.parametrize("number", range(len(PAYLOADS)))
def test_a_flipped_bit_costs_one_record(segment, number):
    sound = segment.read_bytes()
    start = start_of(segment, number)
    expected = PAYLOADS[:number] + PAYLOADS[number + 1 :]
    for offset in range(start, start + 9 + len(PAYLOADS[number])):
        for bit in (0x01, 0x80):
            data = bytearray(sound)
            data[offset] ^= bit
            segment.write_bytes(data)
            records = read_records(segment)
            assert [payload for _kind, payload, _end in records] == expected
            assert records.skipped + records.torn == 1


def test_rubbish_between_records_is_passed_over(segment):
    data = segment.read_bytes()
    start = start_of(segment, 2)
    segment.write_bytes(data[:start] + b"\x00" * 5000 + os.urandom(5000) + data[start:])
    records = read_records(segment)
    assert [payload for _kind, payload, _end in records] == PAYLOADS
    assert records.skipped == 1


def test_an_unknown_kind_is_handed_on(segment):
    with segment.open("ab") as file:
        file.write(pack(200, b"of tomorrow") + pack(BLOB, b"blob"))
    assert [kind for kind, _payload, _end in read_records(segment)][-2:] == [200, BLOB]


def test_a_damaged_header_leaves_the_records(segment):
    data = bytearray(segment.read_bytes())
    data[14] ^= 0xFF
    segment.write_bytes(data)
    records = read_records(segment)
    assert [payload for _kind, payload, _end in records] == PAYLOADS
    assert records.header is None


@pytest.mark.parametrize("data", [b"PK\x03\x04zip", b"NXSPOOL\x02later version", b"NX SPOOL"])
def test_a_foreign_file_is_named_in_one_line(tmp_path, data):
    path = tmp_path / "seg-1.nxs"
    path.write_bytes(data)
    with pytest.raises(ForeignFileError) as caught:
        read_records(path)
    assert isinstance(caught.value, NexusError)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_segments_come_oldest_first(tmp_path):
    names = ["seg-0000000000000002-9-1.nxs", "seg-0000000000000001-99-1.nxs"]
    for name in [*names, "other.nxs", "seg-1.nxs.ab.ack"]:
        (tmp_path / name).touch()
    assert [path.name for path in segments(tmp_path)] == sorted(names)
    assert segments(tmp_path / "missing") == []


def test_a_process_is_known_by_more_than_its_number():
    ours = this_process()
    assert has_ended(ours) is False
    reused = Owner(ours.pid, ours.start_time - 1, ours.boot_id, ours.pid_space)
    assert has_ended(reused) is True
    assert has_ended(Owner(ours.pid, ours.start_time, "another boot", ours.pid_space)) is True
    assert has_ended(Owner(2**22 + 1, 1, ours.boot_id, ours.pid_space)) is True
    assert has_ended(Owner(1, 1, ours.boot_id, "pid:[1]")) is None
