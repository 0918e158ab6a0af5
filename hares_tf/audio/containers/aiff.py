"""AIFF and AIFF-C files."""

from hares_tf.audio.containers.source import (
    Container,
    Source,
    Stream,
    chunks,
    examine_joined,
    is_unknown_size,
    truncated,
)

# Compression types of AIFF-C whose frames have the stated number of bits per channel.
_LINEAR = (b"NONE", b"sowt", b"twos", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64")


def examine(source: Source) -> Container:
    """Reads an AIFF file, and the AIFF files that follow it in the same file."""
    return examine_joined(source, _examine_one)


def _examine_one(source: Source) -> tuple[Container, int | None]:
    """Returns the first AIFF file in `source`, and where the next one begins (None: nowhere)."""
    common = sound = None
    frame_bytes: int | None = None
    following = None
    for name, offset, stated in chunks(source, 12, "big"):
        if name == b"COMM":
            common = offset
            fields = source.read(offset, 22)
            channels = int.from_bytes(fields[:2], "big")
            bits = int.from_bytes(fields[6:8], "big")
            linear = source.read(8, 4) == b"AIFF" or fields[18:22] in _LINEAR
            frame_bytes = max(1, channels * (-(-bits // 8))) if linear else None
        elif name == b"SSND":
            sound = (offset, stated)
            if stated > source.size - offset or stated <= 8:
                break
        elif sound and name == b"FORM" and source.read(offset, 4) in (b"AIFF", b"AIFC"):
            following = offset - 8
            break
    if sound is None:
        return Container(), None
    offset, stated = sound
    present = max(0, source.size - offset)
    form_size = int.from_bytes(source.read(4, 4), "big")
    # The sound begins behind 8 bytes of the chunk, after as many bytes as its first field states.
    unknown = stated > present and is_unknown_size(stated, 8 + (frame_bytes or 1))
    unknown |= stated in (0, 8) and present > 8 and form_size + 8 < source.size
    if unknown and present > 8 and common is not None:
        fixed = bytearray(source.rest(0))
        fixed[offset - 4 : offset] = present.to_bytes(4, "big")
        frames = (present - 8) // frame_bytes if frame_bytes else None
        if frames is not None:
            fixed[common + 2 : common + 6] = min(frames, 0xFFFFFFFF).to_bytes(4, "big")
        return Container(streams=(Stream(bytes(fixed), frames),)), None
    if stated > present:
        return truncated(stated, present), None
    skipped = int.from_bytes(source.read(offset, 4), "big")
    frames = max(0, stated - 8 - skipped) // frame_bytes if frame_bytes else None
    return Container(streams=(Stream(None, frames),)), following
