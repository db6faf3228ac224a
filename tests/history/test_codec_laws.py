"""The block codec: what was encoded comes back, and what was not encoded does not."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventcore.errors import CorruptLog, UnknownFormat
from eventcore.history import codec, snapshots
from eventcore.history import events as e
from eventcore.history.backend import StoredSnapshot
from eventcore.history.state import State, decode_state
from tests.history.jsonvalues import events, of_event, same, values

RUNS = st.integers(0, 2**32 - 1)
SEQS = st.integers(1, 2**63)
A_READ = e.FieldRead(1, "r1", 0, 3, "persona")


def block(*made: e.Event, run: int = 7, first: int = 40) -> bytes:
    return codec.encode_block(run, first, 2, made)


def resealed(data: bytes, offset: int, replacement: bytes) -> bytes:
    """Another block with a few bytes replaced and the checksum made right again, as a newer writer would."""
    head = bytearray(data[:32])
    head[offset : offset + len(replacement)] = replacement
    body = data[36:]
    return bytes(head) + struct.pack("<I", zlib.crc32(body, zlib.crc32(bytes(head)))) + body


@pytest.mark.parametrize("kind", e.KINDS)
@settings(max_examples=20)
@given(data=st.data())
def test_every_event_comes_back_as_it_was(kind: str, data: st.DataObject) -> None:
    """I8."""
    made = data.draw(of_event(e.KINDS[kind]))
    (read,) = codec.decode_block(block(made))
    assert type(read) is e.KINDS[kind]
    assert same(read, made)


@given(st.lists(events, min_size=1, max_size=8), RUNS, SEQS)
def test_a_block_says_whose_it_is_and_where_it_stands(made: list[e.Event], run: int, first: int) -> None:
    data = codec.encode_block(run, first, 5, made)
    header = codec.read_header(data)
    assert (header.run, header.first_seq, header.last_seq, header.epoch) == (
        run,
        first,
        first + len(made) - 1,
        5,
    )
    assert same(codec.decode_block(data), made)


@given(st.lists(events, min_size=1, max_size=6))
def test_events_cut_out_of_a_block_one_by_one_are_the_same(made: list[e.Event]) -> None:
    data = block(*made)
    header = codec.read_header(data)
    assert same([codec.decode_event(raw, header) for raw in codec.split_block(data, header)], made)


def test_a_large_repetitive_block_is_compressed_and_comes_back() -> None:
    made = [e.VariableUpdated(i, None, 0, 0, {"persona": "x" * 40}, 0) for i in range(256)]
    data = block(*made)
    assert len(data) < 4096 < sum(len(msgspec.msgpack.encode(one)) for one in made)
    assert same(codec.decode_block(data), made)


@settings(max_examples=5)
@given(st.lists(events, min_size=1, max_size=3))
@example([e.VariableUpdated(1, None, 0, 0, {"text": "word " * 2000}, 0)])
def test_every_single_flipped_bit_is_refused(made: list[e.Event]) -> None:
    data = block(*made)
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with pytest.raises(CorruptLog):
                codec.decode_block(bytes(flipped))


@settings(max_examples=5)
@given(st.lists(events, min_size=1, max_size=3))
@example([e.VariableUpdated(1, None, 0, 0, {"text": "word " * 2000}, 0)])
def test_every_truncation_is_refused(made: list[e.Event]) -> None:
    data = block(*made)
    for length in range(len(data)):
        with pytest.raises(CorruptLog):
            codec.decode_block(data[:length])


@given(st.lists(events, min_size=1, max_size=3), st.binary(min_size=1, max_size=9))
def test_bytes_after_the_end_are_refused(made: list[e.Event], more: bytes) -> None:
    with pytest.raises(CorruptLog):
        codec.decode_block(block(*made) + more)


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: block(A_READ)[:36] + tail))
def test_random_bytes_raise_only_what_is_declared(data: bytes) -> None:
    with pytest.raises((CorruptLog, UnknownFormat)):
        codec.decode_block(data)


@settings(max_examples=300)
@given(st.binary(max_size=120), st.integers(0, 300), st.booleans())
def test_a_good_checksum_over_random_bytes_raises_only_what_is_declared(
    payload: bytes, count: int, compressed: bool
) -> None:
    data = codec.pack_block(1, 1, count, 1, e.VOCABULARY, payload)
    if compressed:
        data = resealed(data, 5, b"\x01")
    try:
        codec.decode_block(data)
    except CorruptLog:
        pass


def deep(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


@pytest.mark.parametrize(
    "payload",
    [deep(1_000_000), b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91\xdb\xff\xff\xff\xff", b""],
    ids=["nested a million deep", "four billion items", "four billion keys", "a text of 4 GB", "nothing"],
)
def test_a_payload_that_promises_too_much_is_refused_at_once(payload: bytes) -> None:
    with pytest.raises(CorruptLog):
        codec.decode_block(codec.pack_block(1, 1, 1, 1, e.VOCABULARY, payload))


def bomb(promised: Callable[[int], int]) -> bytes:
    """A block of a few KB whose payload expands to a gigabyte, with a checksum that fits."""
    size = 1 << 30
    packer = zstandard.ZstdCompressor(level=3).compressobj(size=size)
    zeros = bytes(1 << 22)
    frame = b"".join([packer.compress(zeros) for _ in range(size // len(zeros))]) + packer.flush()
    assert len(frame) < 200_000
    head = struct.pack("<4sBBHIQIII", b"EVCB", 1, 1, e.VOCABULARY, 1, 1, 1, 1, promised(size))
    return head + struct.pack("<I", zlib.crc32(frame, zlib.crc32(head))) + frame


@pytest.mark.parametrize("promised", [lambda size: size, lambda size: 4096], ids=["honest", "lying"])
def test_a_zstd_bomb_is_refused_before_it_expands(promised: Callable[[int], int]) -> None:
    import tracemalloc

    data = bomb(promised)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptLog):
            codec.decode_block(data)
        assert tracemalloc.get_traced_memory()[1] < 32 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_payload_too_large_to_be_trusted_compressed_is_stored_as_it_is_and_comes_back() -> None:
    made = e.ProgramDeclared(1, None, 0, "big", {"text": "a" * (codec.MAX_PAYLOAD + 10)})
    assert same(codec.decode_block(block(made)), [made])


def test_a_newer_vocabulary_is_refused_by_name_even_when_its_events_look_known() -> None:
    newer = e.VOCABULARY + 1
    data = codec.pack_block(1, 1, 1, 1, newer, msgspec.msgpack.encode([A_READ]))
    with pytest.raises(UnknownFormat, match=f"vocabulary {newer} .*knows up to {e.VOCABULARY}.*upgrade"):
        codec.decode_block(data)


def test_a_newer_format_is_refused_by_name() -> None:
    data = resealed(block(A_READ), 4, bytes([codec.FORMAT + 1]))
    with pytest.raises(UnknownFormat, match=f"format {codec.FORMAT + 1}.*upgrade"):
        codec.decode_block(data)


def test_an_event_nobody_knows_is_refused() -> None:
    data = codec.pack_block(1, 1, 1, 1, e.VOCABULARY, msgspec.msgpack.encode([[9999, 0, None, 0]]))
    with pytest.raises(CorruptLog):
        codec.decode_block(data)


def test_a_block_with_fewer_events_than_its_header_says_is_refused() -> None:
    data = codec.pack_block(1, 1, 3, 1, e.VOCABULARY, msgspec.msgpack.encode([A_READ]))
    with pytest.raises(CorruptLog, match="holds 1 events, not 3"):
        codec.decode_block(data)
    header = codec.read_header(data)
    with pytest.raises(CorruptLog):
        codec.split_block(data, header)


def tag_of(kind: type[e.Event]) -> int:
    tag = kind.__struct_config__.tag
    assert isinstance(tag, int)
    return tag


def upcaster(array: list[Any]) -> list[Any]:
    """From a vocabulary in which a read had no field name."""
    tag, moment, rollout, cause, variable = array
    return [tag, moment, rollout, cause, variable, f"field of {variable}"]


def old_block(*arrays: object) -> bytes:
    return codec.pack_block(1, 1, len(arrays), 1, e.VOCABULARY - 1, msgspec.msgpack.encode(arrays))


def test_an_older_vocabulary_is_read_through_its_upcaster(monkeypatch: pytest.MonkeyPatch) -> None:
    read = tag_of(e.FieldRead)
    metric = tag_of(e.MetricLogged)
    monkeypatch.setitem(codec.UPCASTERS, (e.VOCABULARY - 1, read), upcaster)
    data = old_block([read, 5, None, 0, 3], [metric, 6, "r", 0, "loss", 0.5])
    expected = [e.FieldRead(5, None, 0, 3, "field of 3"), e.MetricLogged(6, "r", 0, "loss", 0.5)]
    assert codec.decode_block(data) == expected
    header = codec.read_header(data)
    assert [codec.decode_event(raw, header) for raw in codec.split_block(data, header)] == expected
    assert codec.decode_block(block(A_READ)) == [A_READ]  # the present one is left alone


@settings(max_examples=100)
@given(st.lists(values, max_size=3))
def test_what_no_upcaster_understands_raises_only_what_is_declared(arrays: list[object]) -> None:
    key = (e.VOCABULARY - 1, tag_of(e.FieldRead))
    codec.UPCASTERS[key] = upcaster
    try:
        codec.decode_block(old_block(*arrays))
    except CorruptLog:
        pass
    finally:
        del codec.UPCASTERS[key]


def test_tags_of_events_are_never_reused() -> None:
    tags = [tag_of(cls) for cls in e.KINDS.values()]
    assert len(set(tags)) == len(tags)


@settings(max_examples=300)
@given(values | st.tuples(values, values, values, values, values, values, values))
def test_json_that_is_no_state_is_no_snapshot(value: object) -> None:
    try:
        assert isinstance(decode_state(msgspec.msgpack.encode(value)), State)
    except CorruptLog:
        pass


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_random_bytes_are_no_snapshot(data: bytes) -> None:
    with pytest.raises(CorruptLog):
        snapshots.unpack(1, StoredSnapshot(5, data))


def test_a_snapshot_of_another_run_or_seq_is_not_believed() -> None:
    data = snapshots.snapshot_bytes(1, 5, State())
    assert snapshots.unpack(1, StoredSnapshot(5, data)).digest == State().digest
    for run, seq in ((2, 5), (1, 6)):
        with pytest.raises(CorruptLog, match="run number 1 at seq 5"):
            snapshots.unpack(run, StoredSnapshot(seq, data))
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptLog):
            snapshots.unpack(1, StoredSnapshot(5, bytes(flipped)))
