"""A sound file as bytes at offsets, and what an examination of its container returns."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

ByteOrder = Literal["little", "big"]

# A file with more chunks than this is not a plausible sound file; libsndfile judges it.
_MAX_CHUNKS = 1000
_SEARCH_BLOCK = 1 << 20

# Data sizes that mean "unknown, read to the end". They are written where the output is a pipe: all
# bits by the WAV convention and ffmpeg, 0x7FFFF000 (WAV) and 0x7F000000 (AIFF) by SoX, 0x7FFFFFFF,
# 0x7FFFFF00 and 0x80000000 by arecord and others. Programs round them down to whole frames, and
# some count part of the header, so values slightly below mean the same.
UNKNOWN_SIZES = (0x7F000000, 0x7FFFF000, 0x7FFFFF00, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
HEADER_BYTES = 128


@dataclass(frozen=True)
class Stream:
    """One stream of sound within a file.

    Attributes:
        content: the bytes to decode, or None where the file itself can be decoded as it is.
        samples: the number of samples per channel that decoding must give at least, or None
            where the container does not tell.
    """

    content: bytes | None = None
    samples: int | None = None


@dataclass(frozen=True)
class Container:
    """The streams in a file, or what is wrong with it.

    Attributes:
        problem: the end of a sentence "<file> ..." that says why it cannot be used, or "".
        streams: the streams to decode one after the other.
    """

    problem: str = ""
    streams: tuple[Stream, ...] = (Stream(),)


@dataclass(frozen=True)
class Source:
    """The bytes of a sound file from `start` on; offsets count from there."""

    stream: BinaryIO
    start: int
    size: int

    def read(self, offset: int, count: int) -> bytes:
        """Returns up to `count` bytes; fewer at the end of the file."""
        self.stream.seek(self.start + offset)
        return self.stream.read(max(0, min(count, self.size - offset)))

    def rest(self, offset: int) -> bytes:
        """Returns the bytes from `offset` to the end."""
        return self.read(offset, self.size - offset)

    def find(self, pattern: bytes, offset: int) -> int:
        """Returns where `pattern` occurs first from `offset` on, or -1."""
        while offset < self.size:
            block = self.read(offset, _SEARCH_BLOCK + len(pattern) - 1)
            position = block.find(pattern)
            if position >= 0:
                return offset + position
            offset += _SEARCH_BLOCK
        return -1

    def from_offset(self, offset: int) -> "Source":
        """Returns the part that begins at `offset`."""
        return Source(self.stream, self.start + offset, self.size - offset)


def truncated(stated: int, present: int, unit: str = "bytes of sound") -> Container:
    """Returns the result for a file that holds less than its header states."""
    return Container(f"is truncated: its header states {stated} {unit}, {present} are there")


def is_unknown_size(stated: int, frame_bytes: int) -> bool:
    """Whether a stated size stands for "unknown" (see `UNKNOWN_SIZES`)."""
    lowest = HEADER_BYTES + frame_bytes
    # AIFF counts 8 bytes in front of the samples.
    return any(size - lowest < stated <= size + 8 for size in UNKNOWN_SIZES)


def examine_joined(
    source: Source, examine_one: Callable[[Source], tuple[Container, int | None]]
) -> Container:
    """Reads the files that were joined to one file.

    Args:
        source: the file.
        examine_one: returns what the first file's container says, and where the next one begins
            (None: nowhere).
    """
    streams: list[Stream] = []
    while True:
        container, end = examine_one(source)
        if container.problem or (end is None and not streams):
            return container
        (stream,) = container.streams
        content = stream.content or source.read(0, source.size if end is None else end)
        streams.append(Stream(content, stream.samples))
        if end is None:
            return Container(streams=tuple(streams))
        source = source.from_offset(end)


def chunks(source: Source, offset: int, byte_order: ByteOrder) -> Iterator[tuple[bytes, int, int]]:
    """Yields (name, offset of the contents, stated size) of the chunks of a RIFF or IFF file."""
    for _ in range(_MAX_CHUNKS):
        header = source.read(offset, 8)
        if len(header) < 8:
            return
        size = int.from_bytes(header[4:], byte_order)
        yield header[:4], offset + 8, size
        offset += 8 + size + size % 2
