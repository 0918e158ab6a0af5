"""What a sound file's container says about its completeness.

libsndfile decodes what it finds and says nothing when a WAV or Ogg file was cut short, so the
containers are read here first. Two kinds of healthy files need a header that libsndfile
understands, and get a corrected copy:

* WAV written to a pipe, whose data size is 0: libsndfile would read no samples;
* MP3 without a Xing or VBRI header: libsndfile takes the length that the first frame's bitrate
  suggests and drops what lies beyond, up to two thirds of a variable-bitrate file.
"""

from dataclasses import dataclass
from typing import BinaryIO, Literal

# Data sizes that stand for "unknown, read to the end" when a file was written to a pipe: the WAV
# convention (all bits), and the largest values that sox (0x7FFFF000) and arecord write.
STREAMING_SIZES = frozenset({0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000})
# A file with more chunks before its data than this is not a plausible WAV; libsndfile judges it.
_MAX_CHUNKS = 1000
# An Ogg page is at most 27 + 255 + 255 * 255 bytes long.
_MAX_OGG_PAGE = 27 + 255 + 255 * 255


@dataclass(frozen=True)
class Container:
    """What is known about a file before it is decoded.

    Attributes:
        problem: the end of a sentence "<file> ..." that says why it cannot be used, or "".
        content: a copy of the file with a corrected header, or None where it is fine as it is.
        has_length: whether the stated number of frames can be relied on.
    """

    problem: str = ""
    content: bytes | None = None
    has_length: bool = True


def examine(stream: BinaryIO, size: int) -> Container:
    """Reads the container of a sound file; unknown containers pass.

    Args:
        stream: the file's bytes, seekable; its position is changed.
        size: the file's size in bytes.
    """
    start = _after_id3(stream)
    magic = _read(stream, start, 12)
    if magic[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and magic[8:] == b"WAVE":
        return _examine_wav(stream, size, start)
    if magic[:4] == b"FORM" and magic[8:] in (b"AIFF", b"AIFC"):
        return _examine_aiff(stream, size, start)
    if magic[:4] == b"OggS":
        return _examine_ogg(stream, size)
    if magic[:4] == b"fLaC":
        # STREAMINFO (4 magic bytes, 4 of block header, 13 of it): 36 bits of samples, 0 = unknown.
        total = int.from_bytes(_read(stream, start + 21, 5), "big") & ((1 << 36) - 1)
        return Container(has_length=total > 0)
    if _is_layer_three(magic):
        return _examine_mp3(stream, size, start)
    return Container()


def _read(stream: BinaryIO, offset: int, count: int) -> bytes:
    stream.seek(offset)
    return stream.read(count)


def _after_id3(stream: BinaryIO) -> int:
    """Where the sound starts: ID3v2 tags in front of it are skipped."""
    start = 0
    for _ in range(8):
        tag = _read(stream, start, 10)
        if len(tag) < 10 or tag[:3] != b"ID3":
            break
        # Four bytes of seven bits each, without the 10 of the header and of an optional footer.
        size = sum(
            (byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True)
        )
        start += 10 + size + (10 if tag[5] & 0x10 else 0)
    return start


def _chunks(stream: BinaryIO, size: int, start: int, byte_order: Literal["little", "big"]):
    """Yields (name, offset of the contents, stated size) of the chunks of a RIFF or IFF file."""
    offset = start + 12
    for _ in range(_MAX_CHUNKS):
        header = _read(stream, offset, 8)
        if len(header) < 8:
            return
        length = int.from_bytes(header[4:], byte_order)
        yield header[:4], offset + 8, length
        offset += 8 + length + length % 2
        if offset >= size:
            return


def _cut(stated: int, present: int) -> Container:
    return Container(
        problem=f"is truncated: its header states {stated} bytes of sound, {present} are there"
    )


def _examine_wav(stream: BinaryIO, size: int, start: int) -> Container:
    magic = _read(stream, start, 8)
    byte_order: Literal["little", "big"] = "big" if magic[:4] == b"RIFX" else "little"
    large_size = None
    for name, offset, stated in _chunks(stream, size, start, byte_order):
        if name == b"ds64" and magic[:4] in (b"RF64", b"BW64"):
            # RIFF size, then data size, 64 bits each; they stand in for sizes of 0xFFFFFFFF.
            large_size = int.from_bytes(_read(stream, offset + 8, 8), "little")
        if name != b"data":
            continue
        present = max(0, size - offset)
        if stated == 0xFFFFFFFF and large_size is not None:
            return _cut(large_size, present) if large_size > present else Container()
        riff_size = int.from_bytes(magic[4:], byte_order)
        unfinished = riff_size in STREAMING_SIZES or start + 8 + riff_size < size
        if stated == 0 and present and unfinished:
            # Written to a pipe: neither the data size nor the RIFF size was filled in.
            content = bytearray(_read(stream, 0, size))
            content[offset - 4 : offset] = min(present, 0xFFFFFFFF).to_bytes(4, byte_order)
            return Container(content=bytes(content))
        if stated > present and stated not in STREAMING_SIZES:
            return _cut(stated, present)
        return Container()
    return Container()


def _examine_aiff(stream: BinaryIO, size: int, start: int) -> Container:
    for name, offset, stated in _chunks(stream, size, start, "big"):
        if name == b"SSND" and stated > max(0, size - offset):
            return _cut(stated, max(0, size - offset))
    return Container()


def _examine_ogg(stream: BinaryIO, size: int) -> Container:
    tail_start = max(0, size - 2 * _MAX_OGG_PAGE)
    tail = _read(stream, tail_start, size - tail_start)
    # The last capture pattern that begins a page header: "OggS", version 0, three flag bits.
    position = len(tail)
    while (position := tail.rfind(b"OggS", 0, position)) >= 0:
        header = tail[position : position + 27]
        if len(header) < 27:
            return Container(problem="is truncated: its last Ogg page breaks off")
        if header[4] == 0 and header[5] < 8:
            break
    else:
        return Container(problem="is truncated or damaged: it has no Ogg page near its end")
    lacing = tail[position + 27 : position + 27 + header[26]]
    if len(lacing) < header[26] or position + 27 + len(lacing) + sum(lacing) > len(tail):
        return Container(problem="is truncated: its last Ogg page breaks off")
    if not header[5] & 4:
        return Container(problem="is truncated: its last Ogg page does not end the stream")
    return Container()


def _is_layer_three(header: bytes) -> bool:
    """Whether an MPEG audio header of layer III with a stated bitrate and sample rate is there."""
    return (
        len(header) >= 4
        and header[0] == 0xFF
        and header[1] & 0xE6 == 0xE2  # sync, layer III
        and header[1] & 0x18 != 0x08  # not the reserved version
        and header[2] >> 4 not in (0, 15)  # neither free-format nor invalid
        and header[2] & 0x0C != 0x0C  # not the reserved sample rate
    )


def _examine_mp3(stream: BinaryIO, size: int, start: int) -> Container:
    header = _read(stream, start, 4)
    version_one = header[1] & 0x18 == 0x18
    mono = header[3] >> 6 == 3
    # A Xing (or, for constant bitrates, Info) tag follows the frame's side information, whose
    # size depends on version and channels; a VBRI tag always lies 36 bytes into the frame.
    side_information = (17 if mono else 32) if version_one else (9 if mono else 17)
    tag = _read(stream, start + 4 + side_information, 16)
    if tag[:4] in (b"Xing", b"Info"):
        flags = int.from_bytes(tag[4:8], "big")
        if flags & 3 == 3:  # both a frame count and a byte count
            stated = int.from_bytes(tag[12:16], "big")
            if stated > size - start:
                return _cut(stated, size - start)
        return Container(has_length=bool(flags & 1))
    if _read(stream, start + 36, 4) == b"VBRI":
        stated = int.from_bytes(_read(stream, start + 46, 4), "big")
        return _cut(stated, size - start) if stated > size - start else Container()
    # No tag. A frame with a Xing tag is put in front, which states as many frames as the file can
    # hold at the lowest bitrate (32 kbit/s in version 1, 8 in versions 2 and 2.5), so that decoding
    # runs to the end. At 64 kbit/s (index 5 of version 1, 8 of the others) the tag fits in.
    rates = (44100, 48000, 32000) if version_one else (22050, 24000, 16000)
    rate = rates[header[2] >> 2 & 3] // (2 if header[1] & 0x18 == 0 else 1)
    length = (144 if version_one else 72) * 64000 // rate
    most_frames = size // ((144 * 32000 if version_one else 72 * 8000) // rate) + 1
    frame = bytearray(length)
    frame[:4] = bytes(
        [0xFF, header[1] | 1, ((5 if version_one else 8) << 4) | (header[2] & 0x0C), header[3]]
    )
    frame[4 + side_information : 16 + side_information] = (
        b"Xing" + (1).to_bytes(4, "big") + min(most_frames, 0xFFFFFFFF).to_bytes(4, "big")
    )
    return Container(content=bytes(frame) + _read(stream, start, size - start), has_length=False)
