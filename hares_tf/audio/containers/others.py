"""Sun AU, Apple CAF, Sony Wave64 and NIST SPHERE: the stated size against the size of the file."""

from collections.abc import Callable

from hares_tf.audio.containers.source import (
    ByteOrder,
    Container,
    Source,
    Stream,
    is_unknown_size,
    truncated,
)

_UNKNOWN_64 = ((1 << 64) - 1, (1 << 63) - 1, 0)
_MAX_TRAILER = 1024


def _audited(source: Source, offset: int, stated: int, magic: bytes) -> Container:
    """Compares the stated size of the last chunk with what is there.

    A second file behind the first one is refused: nobody joins these formats on purpose.
    """
    present = max(0, source.size - offset)
    if stated > present:
        return truncated(stated, present)
    rest = source.read(offset + stated, present - stated)
    if len(rest) > _MAX_TRAILER and magic in rest:
        return Container(f"holds a second file {len(rest)} bytes before its end; split it")
    return Container()


def _au(source: Source) -> Container:
    header = source.read(0, 24)
    order: ByteOrder = "big" if header[:1] == b"." else "little"
    offset, stated = (int.from_bytes(header[k : k + 4], order) for k in (4, 8))
    present = max(0, source.size - offset)
    if stated == 0xFFFFFFFF:
        return Container()
    if (stated > present and is_unknown_size(stated, 8)) or (stated == 0 and present):
        content = bytearray(source.rest(0))
        content[8:12] = b"\xff\xff\xff\xff"
        return Container(streams=(Stream(bytes(content)),))
    container = _audited(source, offset, stated, header[:4])
    if not container.problem and present - stated > _MAX_TRAILER:
        return Container(
            f"has {present - stated} bytes behind the sound that its header states: "
            "the header is damaged"
        )
    return container


def _caf(source: Source) -> Container:
    offset = 8
    while len(header := source.read(offset, 12)) == 12:
        stated = int.from_bytes(header[4:], "big")
        if header[:4] == b"data":
            if stated in _UNKNOWN_64 and source.size > offset + 12:
                # libsndfile refuses some files whose last chunk states no size.
                content = bytearray(source.rest(0))
                content[offset + 4 : offset + 12] = (source.size - offset - 12).to_bytes(8, "big")
                return Container(streams=(Stream(bytes(content)),))
            return _audited(source, offset + 12, stated, b"caff\x00\x01")
        offset += 12 + stated
    return Container()


def _w64(source: Source) -> Container:
    offset = 40  # the identifiers of RIFF and WAVE, 16 bytes each, and a size
    while len(header := source.read(offset, 24)) == 24:
        stated = int.from_bytes(header[16:], "little")  # of the chunk with its header
        if header[:4] == b"data":
            present = source.size - offset
            if stated in (*_UNKNOWN_64, 24) and present > 24:
                content = bytearray(source.rest(0))
                content[16:24] = source.size.to_bytes(8, "little")
                content[offset + 16 : offset + 24] = present.to_bytes(8, "little")
                return Container(streams=(Stream(bytes(content)),))
            return _audited(source, offset + 24, stated - 24, source.read(0, 16))
        if stated < 24:
            return Container()
        offset += -(-stated // 8) * 8
    return Container()


def _nist(source: Source) -> Container:
    header = source.read(0, 1024).decode("ascii", "replace")
    values = {}
    for line in header.splitlines()[2:]:
        name, _, value = line.partition(" ")
        if name == "end_head":
            break
        values[name] = value.split()[-1] if value else ""
    try:
        offset = int(header.splitlines()[1])
        samples, width = int(values["sample_count"]), int(values["sample_n_bytes"])
        channels = int(values.get("channel_count", 1))
    except (IndexError, KeyError, ValueError):
        return Container("is a SPHERE file whose header does not state its number of samples")
    container = _audited(source, offset, samples * channels * width, b"NIST_1A")
    if container.problem:
        return container
    # libsndfile decodes whatever follows, too.
    return Container(
        streams=(Stream(source.read(0, offset + samples * channels * width), samples),)
    )


CHECKS: dict[bytes, Callable[[Source], Container]] = {
    b".snd": _au,
    b"dns.": _au,
    b"caff": _caf,
    b"NIST_1A": _nist,
    b"riff\x2e\x91\xcf\x11": _w64,
}
