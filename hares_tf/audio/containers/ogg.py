"""Ogg files: pages with checksums, one logical stream after the other."""

import zlib

from hares_tf.audio.containers.source import Container, Source, Stream

_CONTINUED_HEADER = 27
_FIRST, _LAST = 2, 4  # flags of a page
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def examine(source: Source) -> Container:
    """Reads the pages of an Ogg file; links of a chain become streams of their own.

    libogg drops a page whose checksum is wrong, and libsndfile the second link of a chain, both
    without a word.
    """
    content = source.rest(0)
    links: list[int] = []  # where they begin
    sequence: dict[bytes, int] = {}  # serial number -> number of its last page
    ended = True
    beginning = False
    offset = 0
    while offset < len(content):
        header = content[offset : offset + _CONTINUED_HEADER]
        if header[:4] != b"OggS"[: len(header)]:
            following = content.find(b"OggS", offset)
            if following >= 0:
                return Container(
                    f"is damaged: {following - offset} bytes at byte {source.start + offset} "
                    "are no Ogg page"
                )
            break  # a tag behind the last page
        lacing = content[offset + 27 : offset + 27 + (header[26] if len(header) == 27 else 0)]
        end = offset + 27 + len(lacing) + sum(lacing)
        if len(header) < 27 or len(lacing) < header[26] or end > len(content):
            return Container("is truncated: its last Ogg page breaks off")
        page = bytearray(content[offset:end])
        stated, page[22:26] = bytes(page[22:26]), bytes(4)
        if _crc(page) != int.from_bytes(stated, "little"):
            return Container(f"is damaged: the Ogg page at byte {source.start + offset} is corrupt")
        serial, number = header[14:18], int.from_bytes(header[18:22], "little")
        if header[5] & _FIRST:
            if not beginning:
                if not ended:
                    return Container(_UNFINISHED)
                links.append(offset)
                sequence = {}
            beginning = True
        else:
            beginning = False
            # A stream that was cut from a longer one may jump behind its header pages.
            if number != sequence.get(serial, number - 1) + 1 and sequence[serial] > 2:
                return Container(
                    f"is damaged: Ogg pages are missing before byte {source.start + offset}"
                )
        sequence[serial] = number
        ended = bool(header[5] & _LAST)
        offset = end
    if not links:
        return Container("is truncated or damaged: it does not begin with the first Ogg page")
    if not ended:
        return Container(_UNFINISHED)
    if len(links) == 1:
        return Container()
    ends = [*links[1:], offset]
    return Container(
        streams=tuple(Stream(content[start:end]) for start, end in zip(links, ends, strict=True))
    )


_UNFINISHED = "is truncated: its last Ogg page does not end the stream"


def _crc(page: bytes | bytearray) -> int:
    """Returns Ogg's CRC-32: zlib's with the bits of each byte reversed and nothing inverted."""
    mirrored = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
