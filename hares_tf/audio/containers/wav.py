"""WAV files: RIFF, RIFX (big endian), RF64 and BW64."""

from hares_tf.audio.containers.source import (
    ByteOrder,
    Container,
    Source,
    Stream,
    chunks,
    examine_joined,
    is_unknown_size,
    truncated,
)

_MAGICS = (b"RIFF", b"RIFX", b"RF64", b"BW64")
# Codes of linear integers and floats, whose frames have a fixed number of bytes.
_LINEAR = (1, 3)
# Some programs leave a few bytes behind the last chunk.
_MAX_TRAILER = 1024


def examine(source: Source) -> Container:
    """Reads a WAV file, and the WAV files that follow it in the same file."""
    return examine_joined(source, _examine_one)


def _examine_one(source: Source) -> tuple[Container, int | None]:
    """Returns the first WAV file in `source`, and where the next one begins (None: nowhere)."""
    magic = source.read(0, 8)
    order: ByteOrder = "big" if magic[:4] == b"RIFX" else "little"
    large_size = None
    code, frame_bytes = 0, 1
    for name, offset, stated in chunks(source, 12, order):  # noqa: B007 (used below)
        if name == b"ds64" and magic[:4] in (b"RF64", b"BW64"):
            # RIFF size, then data size, 64 bits each; they stand in for sizes of 0xFFFFFFFF.
            large_size = int.from_bytes(source.read(offset + 8, 8), "little")
        elif name == b"fmt ":
            layout = source.read(offset, 26)
            code = int.from_bytes(layout[:2], order)
            if code == 0xFFFE:  # extensible: the code begins the identifier of the subformat
                code = int.from_bytes(layout[24:26], order)
            frame_bytes = max(1, int.from_bytes(layout[12:14], order))
        elif name == b"data":
            break
    else:
        return Container(), None
    if stated == 0xFFFFFFFF and large_size is not None:
        stated = large_size
    present = max(0, source.size - offset)
    riff_size = int.from_bytes(magic[4:], order)
    unfinished = riff_size in (0, 36) or is_unknown_size(riff_size, frame_bytes)
    unfinished |= 8 + riff_size < source.size
    streamed = (stated == 0 and present > 0 and unfinished) or (
        stated > present and is_unknown_size(stated, frame_bytes)
    )
    streamed |= large_size in (0, (1 << 64) - 1, (1 << 63) - 1) and stated == large_size
    if streamed and present:
        whole = present - present % frame_bytes if code in _LINEAR else present
        content = None
        if whole < 0xFFFFFFFF:
            fixed = bytearray(source.rest(0))
            fixed[:4] = b"RIFX" if order == "big" else b"RIFF"
            fixed[offset - 4 : offset] = whole.to_bytes(4, order)
            content = bytes(fixed)
        return Container(streams=(Stream(content, _frames(code, whole, frame_bytes)),)), None
    if stated > present:
        return truncated(stated, present), None
    end = offset + stated
    following = None
    for name, inner, _ in chunks(source, end + stated % 2, order):
        if name == b"data":
            return Container("has more than one data chunk, of which only one is read"), None
        if name in _MAGICS and source.read(inner, 4) == b"WAVE":
            following = inner - 8
            break
    if following is None and (problem := _trailer(source, end)):
        return Container(problem), None
    return Container(streams=(Stream(None, _frames(code, stated, frame_bytes)),)), following


def _frames(code: int, size: int, frame_bytes: int) -> int | None:
    return size // frame_bytes if code in _LINEAR else None


def _trailer(source: Source, end: int) -> str:
    """Returns what is wrong with the bytes behind the data chunk, or ""."""
    rest = source.size - end
    if rest <= _MAX_TRAILER:
        return ""
    head = source.read(end, 9)
    for name in (head[:4], head[1:5]):  # with the pad byte of an odd size, or without
        if name.isascii() and name.decode().isprintable():
            return ""
    if not any(source.read(end, _MAX_TRAILER)):
        return ""
    return (
        f"has {rest} bytes behind the sound that its header states, which are no chunk: "
        "the header is damaged"
    )
