"""Events to bytes and back: one block per commit, checked on every read.

A block is a fixed header followed by a MessagePack array of events, compressed with zstd when
that pays. The CRC32 covers the header's other fields and the stored payload, so a flipped bit, a
block in the wrong place and a torn tail are all found before a single event is believed. Nothing
here knows where blocks are kept.

    offset  size  field
         0     4  magic "EVCB"
         4     1  format version (1)
         5     1  flags: bit 0 = payload is a zstd frame
         6     2  vocabulary version of the events (see `events.VOCABULARY`)
         8     4  number of the run in its store
        12     8  seq of the first event
        20     4  count of events
        24     4  writer epoch
        28     4  length of the payload before compression
        32     4  CRC32 of bytes 0..31 and of the stored payload
        36     …  payload

All integers are little-endian. Old blocks are read for ever: a change of the header raises
`FORMAT`, a change of an event's meaning gets an upcaster, a function from the old decoded array to
the new one, entered in `UPCASTERS` by vocabulary version and tag.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec

from eventcore.errors import CorruptLog, UnknownFormat
from eventcore.history.events import VOCABULARY, AnyEvent, Event

if TYPE_CHECKING:
    import zstandard

FORMAT = 1
MAGIC = b"EVCB"
MAX_PAYLOAD = 16 * 1024 * 1024
"""A compressed payload's size, in bytes; more is never compressed, and refused before it is decompressed."""

COMPRESS_FROM = 4096
COMPRESS_SAVES = 0.8
BLOCK_OF_CRC = 5 * 1024
_ZSTD = 1
_HEADER = struct.Struct("<4sBBHIQIII")
_CRC = struct.Struct("<I")
HEADER_SIZE = _HEADER.size + _CRC.size

UPCASTERS: dict[tuple[int, int], Callable[[list[Any]], list[Any]]] = {}
"""(vocabulary version, tag) -> function from that version's array, tag first, to the next version's."""

encoder = msgspec.msgpack.Encoder()
_events_decoder = msgspec.msgpack.Decoder(list[AnyEvent])
_event_decoder = msgspec.msgpack.Decoder(AnyEvent)
_split_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_untyped_decoder = msgspec.msgpack.Decoder()
decode_json = _untyped_decoder.decode
"""Decode one JSON value stored as MessagePack."""

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_local = threading.local()


class BlockHeader(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The checked header of a block; fields as in the module's table."""

    flags: int
    vocabulary: int
    run: int
    first_seq: int
    count: int
    epoch: int
    payload_size: int

    @property
    def last_seq(self) -> int:
        """Seq of the last event of the block."""
        return self.first_seq + self.count - 1


def compressor() -> zstandard.ZstdCompressor:
    """Return this thread's compressor (level 1)."""
    found: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if found is None:
        import zstandard

        found = _local.compressor = zstandard.ZstdCompressor(level=1)
    return found


def compress(payload: bytes) -> tuple[int, bytes]:
    """Return (flags, bytes to store): compressed when the payload is large and it saves a fifth."""
    if COMPRESS_FROM <= len(payload) <= MAX_PAYLOAD:
        packed = compressor().compress(payload)
        if len(packed) <= len(payload) * COMPRESS_SAVES:
            return _ZSTD, packed
    return 0, payload


def compress_all(payloads: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """Do what `compress` does for several payloads.

    The interpreter's lock is let go once for all of them: to get it back from a busy thread takes 5 ms each time.
    """
    found: list[tuple[int, bytes]] = [(0, payload) for payload in payloads]
    fitting = [at for at, payload in enumerate(payloads) if COMPRESS_FROM <= len(payload) <= MAX_PAYLOAD]
    for at, packed in zip(fitting, frames([payloads[at] for at in fitting]), strict=True):
        if len(packed) <= len(payloads[at]) * COMPRESS_SAVES:
            found[at] = _ZSTD, packed
    return found


def frames(payloads: Sequence[bytes]) -> list[bytes]:
    """Return each payload as a zstd frame. The interpreter's lock is let go once for all of them."""
    together = getattr(compressor(), "multi_compress_to_buffer", None)
    if together is None or len(payloads) < 2:  # zstandard without its C extension
        return [compressor().compress(payload) for payload in payloads]
    return [packed.tobytes() for packed in together(list(payloads))]


def decompress(flags: int, stored: bytes | memoryview, size: int, limit: int = MAX_PAYLOAD) -> bytes:
    """Undo `compress`; `size` is the promised length and is never exceeded.

    Raises:
        CorruptLog: The bytes are no frame of that size, or the size is above `limit`.
    """
    if not flags & _ZSTD:
        if len(stored) != size:
            raise CorruptLog(f"cannot read a payload: it has {len(stored)} bytes where {size} were promised")
        return bytes(stored)
    import zstandard

    if size > limit:
        raise CorruptLog(f"cannot decompress a payload of {size} bytes: at most {limit} are ever written")
    found: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if found is None:
        found = _local.decompressor = zstandard.ZstdDecompressor()
    try:
        if zstandard.frame_content_size(stored) != size:
            raise CorruptLog("cannot decompress a payload: its frame does not have the promised size")
        return found.decompress(stored, max_output_size=size)
    except zstandard.ZstdError as error:
        raise CorruptLog(f"cannot decompress a payload: {error}") from error


def encode_block(run: int, first_seq: int, epoch: int, events: Sequence[Event]) -> bytes:
    """Encode events, whose seqs begin at `first_seq`, into one block."""
    return pack_block(run, first_seq, len(events), epoch, VOCABULARY, encoder.encode(events))


def pack_block(run: int, first_seq: int, count: int, epoch: int, vocabulary: int, payload: bytes) -> bytes:
    """Compress an encoded payload and put a header before it."""
    return seal_block(run, first_seq, count, epoch, vocabulary, len(payload), *compress(payload))


def seal_block(
    run: int, first_seq: int, count: int, epoch: int, vocabulary: int, size: int, flags: int, stored: bytes
) -> bytes:
    """Put a header before a payload that `compress` made of one of `size` bytes."""
    header = _HEADER.pack(MAGIC, FORMAT, flags, vocabulary, run, first_seq, count, epoch, size)
    return b"".join((header, _CRC.pack(_crc32(stored, zlib.crc32(header))), stored))


def _crc32(data: bytes, crc: int) -> int:
    """Return the CRC32 of some kilobytes without letting go of the interpreter's lock, as zlib does from 5 KB."""
    if len(data) > BLOCK_OF_CRC * 16:
        return zlib.crc32(data, crc)
    for start in range(0, len(data), BLOCK_OF_CRC):
        crc = zlib.crc32(data[start : start + BLOCK_OF_CRC], crc)
    return crc


def read_header(data: bytes | memoryview) -> BlockHeader:
    """Check a block and return its header.

    Raises:
        CorruptLog: Too short, wrong magic, or the CRC does not match.
        UnknownFormat: A newer format or vocabulary.
    """
    if len(data) < HEADER_SIZE:
        raise CorruptLog(f"cannot read a block of {len(data)} bytes: a header alone has {HEADER_SIZE}")
    magic, version, flags, vocabulary, run, first, count, epoch, size = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise CorruptLog(f"cannot read a block: it begins with {bytes(magic)!r}, not {MAGIC!r}")
    (crc,) = _CRC.unpack_from(data, _HEADER.size)
    body = memoryview(data)
    if zlib.crc32(body[HEADER_SIZE:], zlib.crc32(body[: _HEADER.size])) != crc:
        raise CorruptLog("cannot read a block: its CRC does not match its bytes", seq=first)
    if version > FORMAT:
        raise UnknownFormat(
            f"cannot read a block of format {version}: this eventcore reads up to {FORMAT}; upgrade"
        )
    if vocabulary > VOCABULARY:
        raise UnknownFormat(
            f"cannot read the events at seq {first}: they use vocabulary {vocabulary} of a newer eventcore, "
            f"this one knows up to {VOCABULARY}; upgrade eventcore to read this log"
        )
    return BlockHeader(flags, vocabulary, run, first, count, epoch, size)


def read_payload(data: bytes | memoryview, header: BlockHeader) -> bytes:
    """Return the MessagePack array of a block whose header was checked."""
    return decompress(header.flags, memoryview(data)[HEADER_SIZE:], header.payload_size)


def decode_block(data: bytes | memoryview, header: BlockHeader | None = None) -> list[Event]:
    """Decode and check all events of a block.

    Raises:
        CorruptLog: The bytes are not what was written.
        UnknownFormat: The block holds events of a newer vocabulary.
    """
    header = header or read_header(data)
    payload = read_payload(data, header)
    try:
        if any(version >= header.vocabulary for version, _ in UPCASTERS):
            events = _decode_upcast(payload, header.vocabulary)
        else:
            events = cast(list[Event], _events_decoder.decode(payload))
    except DECODE_ERRORS as error:
        raise _decode_failure(header, error) from error
    _check_count(header, len(events))
    return events


def _check_count(header: BlockHeader, found: int) -> None:
    if found != header.count:
        raise CorruptLog(
            f"cannot read the block at seq {header.first_seq}: it holds {found} events, not {header.count}",
            seq=header.first_seq,
        )


def split_block(data: bytes | memoryview, header: BlockHeader) -> list[msgspec.Raw]:
    """Cut a block into its encoded events without decoding them; about ten times faster than decoding."""
    try:
        raws = _split_decoder.decode(read_payload(data, header))
    except DECODE_ERRORS as error:
        raise _decode_failure(header, error) from error
    _check_count(header, len(raws))
    return raws


def decode_event(raw: bytes | memoryview | msgspec.Raw, header: BlockHeader) -> Event:
    """Decode one event cut out by `split_block`."""
    try:
        if UPCASTERS:
            return _upcast(decode_json(raw), header.vocabulary)
        return cast(Event, _event_decoder.decode(raw))
    except DECODE_ERRORS as error:
        raise _decode_failure(header, error) from error


def _decode_upcast(payload: bytes, vocabulary: int) -> list[Event]:
    return [_upcast(array, vocabulary) for array in _split_decoder.decode(payload)]


def _upcast(encoded: Any, vocabulary: int) -> Event:
    array = decode_json(encoded) if isinstance(encoded, (bytes, msgspec.Raw)) else encoded
    try:
        for version in range(vocabulary, VOCABULARY):
            step = UPCASTERS.get((version, array[0]))
            if step is not None:
                array = step(array)
    except (LookupError, TypeError, ValueError) as error:
        raise msgspec.ValidationError(f"it is no event of vocabulary {vocabulary} ({error!r})") from error
    return cast(Event, _event_decoder.decode(encoder.encode(array)))


def _decode_failure(header: BlockHeader, error: Exception) -> CorruptLog:
    return CorruptLog(f"cannot decode the block at seq {header.first_seq}: {error}", seq=header.first_seq)
