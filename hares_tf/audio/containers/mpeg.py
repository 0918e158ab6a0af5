"""MPEG audio (MP3): every frame is counted, whatever a Xing, Info or VBRI tag states."""

from dataclasses import dataclass
from functools import cache

from hares_tf.audio.containers.source import Container, Source, Stream, truncated

_BITRATES = {  # kbit/s by (version 1?, layer), for codes 1 to 14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MAX_FRAME = 8192
# Xing counts of some encoders include the frame that holds the tag; decoders may drop the first
# frame, whose predecessor is missing.
_SLACK_FRAMES = 2


@dataclass(frozen=True)
class Frame:
    """The header of one frame.

    Attributes:
        version_one: MPEG 1 (32 to 48 kHz), not 2 or 2.5.
        layer: 1, 2 or 3.
        sample_rate: in Hz.
        mono: one channel.
        size: bytes of the frame with its header, or 0 in the free format.
        padding: 1 where the frame has an additional byte (layer 1: 4 bytes).
    """

    version_one: bool
    layer: int
    sample_rate: int
    mono: bool
    size: int
    padding: int

    @staticmethod
    def parse(header: bytes) -> "Frame | None":
        """Returns the header in the first 4 bytes, or None where there is none."""
        if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
            return None
        return _parse(header[1], header[2], header[3] >> 6 == 3)

    @property
    def samples(self) -> int:
        """The number of samples per channel."""
        return 384 if self.layer == 1 else 1152 if self.version_one or self.layer == 2 else 576

    @property
    def layout(self) -> tuple[bool, int, int, bool]:
        """The properties that are constant within a stream."""
        return self.version_one, self.layer, self.sample_rate, self.mono

    @property
    def tag_offset(self) -> int:
        """The offset of a Xing tag, behind the side information."""
        if self.version_one:
            return 4 + (17 if self.mono else 32)
        return 4 + (9 if self.mono else 17)


@cache
def _parse(second: int, third: int, mono: bool) -> Frame | None:
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    bitrate_code, rate_code = third >> 4, third >> 2 & 3
    if version == 1 or layer == 4 or bitrate_code == 15 or rate_code == 3:
        return None
    rate = (44100, 48000, 32000)[rate_code] >> {3: 0, 2: 1, 0: 2}[version]
    padding = third >> 1 & 1
    size = 0
    if bitrate_code:
        bitrate = 1000 * _BITRATES[version == 3, layer][bitrate_code - 1]
        if layer == 1:
            size = (12 * bitrate // rate + padding) * 4
        else:
            size = (144 if version == 3 or layer == 2 else 72) * bitrate // rate + padding
    return Frame(version == 3, layer, rate, mono, size, padding)


@dataclass
class _Segment:
    """Frames of one layout that follow each other.

    Attributes:
        frame: the first frame's header.
        start, end: offsets of the first frame with sound and behind the last one.
        tag: the frame that holds a Xing, Info or VBRI tag in front of it, or b"".
        count: the number of frames with sound.
        cut: whether the last frame breaks off.
    """

    frame: Frame
    start: int
    end: int
    tag: bytes = b""
    count: int = 0
    cut: bool = False


def after_id3v2(source: Source, offset: int) -> int:
    """Returns where the sound starts: ID3v2 tags in front of it are skipped."""
    for _ in range(8):
        tag = source.read(offset, 10)
        size = _id3v2_size(tag)
        if not size:
            break
        offset += size
    return offset


def _id3v2_size(tag: bytes) -> int:
    if len(tag) < 10 or tag[:3] != b"ID3" or any(byte & 0x80 for byte in tag[6:10]):
        return 0
    # Four bytes of seven bits each, without the 10 of the header and of an optional footer.
    size = sum(
        (byte & 0x7F) << shift for byte, shift in zip(tag[6:10], (21, 14, 7, 0), strict=True)
    )
    return 10 + size + (10 if tag[5] & 0x10 else 0)


def examine(source: Source) -> Container:
    """Reads an MPEG audio file, and the files that follow it in the same file."""
    content = source.rest(0)
    segments = _segments(content)
    if isinstance(segments, str):
        return Container(segments)
    if not segments:
        return Container()  # no MPEG audio, but bytes that look like one header
    streams: list[Stream] = []
    for segment in segments:
        container = _examine_segment(content, segment)
        if container.problem:
            return container
        streams += container.streams
    if len(streams) == 1 and segments[0].start <= _MAX_FRAME:
        return Container(streams=tuple(streams))
    return Container(
        streams=tuple(
            Stream(item.content or segment.tag + content[segment.start : segment.end], item.samples)
            for item, segment in zip(streams, segments, strict=True)
        )
    )


def _segments(content: bytes) -> list[_Segment] | str:
    """Returns the streams within `content`, or what is wrong with it."""
    segments: list[_Segment] = []
    current: _Segment | None = None
    free_size = 0
    offset = 0
    while offset + 4 <= len(content):
        frame = Frame.parse(content[offset : offset + 4])
        if frame is None:
            skipped, new_stream = _tag_size(content, offset)
            if not skipped:
                following = _resynchronize(content, offset)
                if following < 0:
                    break
                if current is None:
                    return []
                return (
                    f"is damaged: {following - offset} bytes at byte {offset} are no MPEG audio "
                    "frame"
                )
            if new_stream:
                current = None
            offset += skipped
            continue
        size = frame.size
        if not size:
            free_size = free_size or _free_format_size(content, offset, frame)
            if not free_size:
                break
            size = free_size + frame.padding
        tag = _is_tag(content, offset, frame)
        if current is None or tag or frame.layout != current.frame.layout:
            if (
                not segments
                and offset + size < len(content)
                and not _continues(content, offset + size)
            ):
                return []
            current = _Segment(frame, offset, offset)
            segments.append(current)
        if offset + size > len(content):
            current.cut = True
            break
        if tag:
            current.tag = content[offset : offset + size]
            current.start = current.end = offset + size
        else:
            current.count += 1
            current.end = offset + size
        offset += size
    return [segment for segment in segments if segment.count or segment.tag]


def _continues(content: bytes, offset: int) -> bool:
    """Whether a frame or a known tag begins at `offset`."""
    frame = Frame.parse(content[offset : offset + 4])
    return frame is not None or _tag_size(content, offset)[0] > 0 or offset + 4 > len(content)


def _resynchronize(content: bytes, offset: int) -> int:
    """Returns where the next two frames follow each other, or -1."""
    while (offset := content.find(b"\xff", offset + 1)) >= 0:
        frame = Frame.parse(content[offset : offset + 4])
        if frame is not None and frame.size:
            following = Frame.parse(content[offset + frame.size : offset + frame.size + 4])
            if following is not None and following.layout == frame.layout:
                return offset
    return -1


def _tag_size(content: bytes, offset: int) -> tuple[int, bool]:
    """Returns the size of a tag or of zeros at `offset` (0: none), and whether it begins a file."""
    head = content[offset : offset + 32]
    if size := _id3v2_size(head):
        return size, True
    if head[:3] == b"TAG":
        return (227 if head[3:4] == b"+" else 128), False
    if head[:8] == b"APETAGEX" and len(head) == 32:
        # The stated size leaves out a header, which bit 29 of the flags announces.
        is_header = bool(int.from_bytes(head[20:24], "little") >> 29 & 1)
        return int.from_bytes(head[12:16], "little") + 32 if is_header else 32, False
    if head[:11] == b"LYRICSBEGIN":
        ends = [content.find(end, offset) for end in (b"LYRICS200", b"LYRICSEND")]
        return (min(end for end in ends if end >= 0) + 9 - offset if max(ends) >= 0 else 0), False
    if head[:1] == b"\0":
        rest = content[offset:]
        return len(rest) - len(rest.lstrip(b"\0")), False
    return 0, False


def _free_format_size(content: bytes, offset: int, frame: Frame) -> int:
    """Returns the bytes of a frame without padding, from the distance to the next two headers."""
    layout = frame.layout
    for size in range(24, _MAX_FRAME):
        position = offset
        previous = frame
        for _ in range(2):
            position += size + previous.padding
            header = Frame.parse(content[position : position + 4])
            if header is None or header.size or header.layout != layout:
                break
            previous = header
        else:
            return size
    return 0


def _is_tag(content: bytes, offset: int, frame: Frame) -> bool:
    """Whether the frame holds a Xing, Info or VBRI tag instead of sound."""
    if frame.layer != 3:
        return False
    tag = content[offset + frame.tag_offset : offset + frame.tag_offset + 4]
    return tag in (b"Xing", b"Info") or content[offset + 36 : offset + 40] == b"VBRI"


def _examine_segment(content: bytes, segment: _Segment) -> Container:
    frame, count = segment.frame, segment.count
    stated, extension, offset = 0, b"", frame.tag_offset
    tag = segment.tag
    is_xing = tag[offset : offset + 4] in (b"Xing", b"Info")
    if is_xing:
        flags = int.from_bytes(tag[offset + 4 : offset + 8], "big")
        stated = int.from_bytes(tag[offset + 8 : offset + 12], "big") if flags & 1 else 0
        fields = 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1)
        fields += 4 * (flags >> 3 & 1)
        # LAME's extension holds the encoder's delay at both ends, which decoders cut off.
        extension = tag[offset + 8 + fields : offset + 8 + fields + 36]
        extension = extension if len(extension) == 36 and extension[0] else b""
    elif tag:
        stated = int.from_bytes(tag[50:54], "big")
    # Nobody can tell a lost frame from one that was counted with the tag, unless a part is left.
    if stated > count + (0 if segment.cut else 1):
        return truncated(stated, count, "frames")
    delays = int.from_bytes(extension[21:24], "big") if extension else 0
    samples = (count - _SLACK_FRAMES) * frame.samples - (delays >> 12) - (delays & 0xFFF)
    if frame.layer != 3 or (is_xing and stated >= count):
        return Container(streams=(Stream(None, samples),))
    rebuilt = _tag_frame(content, segment, count, extension)
    return Container(streams=(Stream(rebuilt + content[segment.start : segment.end], samples),))


def _tag_frame(content: bytes, segment: _Segment, count: int, extension: bytes) -> bytes:
    """Returns a frame with a Xing tag that states `count` frames.

    Without one libsndfile takes the length that the first frame's bitrate suggests, and drops up
    to two thirds of a file with a variable bitrate.
    """
    frame = segment.frame
    header = content[segment.start : segment.start + 4] or segment.tag[:4]
    # At 64 kbit/s (code 5 of version 1, 8 of the others) tag and extension fit in at every rate.
    code = 5 if frame.version_one else 8
    size = (144 if frame.version_one else 72) * 64000 // frame.sample_rate
    result = bytearray(size)
    result[:4] = bytes([0xFF, header[1] | 1, code << 4 | header[2] & 0x0C, header[3]])
    fields = b"Xing" + (1).to_bytes(4, "big") + count.to_bytes(4, "big") + extension
    result[frame.tag_offset : frame.tag_offset + len(fields)] = fields
    return bytes(result)
