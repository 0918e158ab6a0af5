"""FLAC files: the last frame, not STREAMINFO, says how many samples there are."""

from hares_tf.audio.containers.source import (
    Container,
    Source,
    Stream,
    examine_joined,
    truncated,
)

_TAIL = 1 << 18
_MARKER = b"fLaC"
# The marker and the header of the STREAMINFO block, which is the last metadata block or not.
_BEGINNINGS = (_MARKER + b"\x00\x00\x00\x22", _MARKER + b"\x80\x00\x00\x22")
# Codes of a frame's sample rate; others follow the header.
_RATES = dict(
    enumerate((88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000), 1)
)
_TOTAL_MASK = (1 << 36) - 1


def examine(source: Source) -> Container:
    """Reads a FLAC file, and the FLAC files that follow it in the same file."""
    return examine_joined(source, _examine_one)


def _after_metadata(source: Source) -> int:
    """Returns where the first frame begins."""
    offset = 4
    while True:
        header = source.read(offset, 4)
        if len(header) < 4:
            return source.size
        offset += 4 + int.from_bytes(header[1:], "big")
        if header[0] & 0x80:
            return offset


def _examine_one(source: Source) -> tuple[Container, int | None]:
    """Returns the first FLAC file in `source`, and where the next one begins (None: nowhere)."""
    audio = _after_metadata(source)
    following = [source.find(beginning, audio) for beginning in _BEGINNINGS]
    end = min((offset for offset in following if offset >= 0), default=None)
    return _examine_until(source, audio, source.size if end is None else end), end


def _examine_until(source: Source, audio: int, end: int) -> Container:
    # Behind the marker and 4 bytes of block header: block sizes (2 x 2 bytes), frame sizes
    # (2 x 3 bytes), then 20 bits of sample rate, 3 of channels, 5 of bits, 36 of total samples.
    info = source.read(8, 18)
    if len(info) < 18:
        return Container("is truncated: it ends within its header")
    stated = int.from_bytes(info[10:18], "big") & _TOTAL_MASK
    if stated == 0 and end == audio:
        return Container()
    first = source.read(audio, 16)
    if _parse_frame_header(first) is None:
        return Container("is truncated or damaged: it has no FLAC frame after its header")
    stated_rate = int.from_bytes(info[10:13], "big") >> 4
    rate = _RATES.get(first[2] & 0x0F, stated_rate)
    if rate != stated_rate:
        return Container(f"is damaged: its header states {stated_rate} Hz, its frames {rate} Hz")
    tail_start = max(audio, end - _TAIL)
    tail = source.read(tail_start, end - tail_start)
    block_size = int.from_bytes(info[2:4], "big") if info[:2] == info[2:4] else 0
    samples = _end_of_last_frame(tail, first, block_size, stated)
    if samples is None:
        return Container("is truncated or damaged: it has no FLAC frame near its end")
    if stated > samples:
        return truncated(stated, samples, "samples")
    if stated == samples:
        return Container(streams=(Stream(None, samples),))
    content = bytearray(source.read(0, end))
    content[21] = (content[21] & 0xF0) | samples >> 32
    content[22:26] = (samples & 0xFFFFFFFF).to_bytes(4, "big")
    return Container(streams=(Stream(bytes(content), samples),))


def _end_of_last_frame(tail: bytes, first: bytes, block_size: int, stated: int) -> int | None:
    """Finds the last frame and returns the number of samples up to its end.

    Compressed samples may look like a header, checksum included. The last frame is one that
    ends where the header says that the file does, or one whose own checksum ends the file;
    where there is neither (the file is cut or goes on after its frames), the last that looks
    like the first.

    Args:
        tail: the end of the file.
        first: the header of the first frame.
        block_size: samples in a frame, where all have as many, else 0.
        stated: samples in the file, as its header says.
    """
    latest = None
    position = len(tail)
    while (position := tail.rfind(first[:2], 0, position)) >= 0:
        header = tail[position : position + 16]
        if len(header) < 6 or not _alike(header, first):
            continue
        parsed = _parse_frame_header(header)
        if parsed is None:
            continue
        number, samples = parsed
        # Where the block size varies, the number is that of the first sample.
        total = number + samples if header[1] & 1 else number * block_size + samples
        if total == stated or _crc16(tail[position:]) == 0:
            return total
        if latest is None and (header[1] & 1 or samples <= block_size):
            latest = total
    return latest


def _alike(header: bytes, first: bytes) -> bool:
    """Returns whether two frames have the same sample rate and the same bits per sample."""
    return (header[2] & 0x0F, header[3] & 0x0F) == (first[2] & 0x0F, first[3] & 0x0F)


def _parse_frame_header(header: bytes) -> tuple[int, int] | None:
    """Returns (frame or sample number, samples in the frame), or None where it is not a header."""
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xFE != 0xF8:
        return None
    # The number is coded as in UTF-8, with up to seven bytes.
    lead = header[4]
    extra = 0 if lead < 0x80 else 8 - (lead ^ 0xFF).bit_length() - 1
    if (lead >= 0x80 and not 1 <= extra <= 6) or header[3] & 1:
        return None
    number = lead if lead < 0x80 else lead & (0x3F >> extra)
    offset = 5 + extra
    for byte in header[5:offset]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    code = header[2] >> 4
    if code == 0:
        return None
    if code in (6, 7):
        width = code - 5
        samples = int.from_bytes(header[offset : offset + width], "big") + 1
        offset += width
    elif code == 1:
        samples = 192
    else:
        samples = 576 << (code - 2) if code < 6 else 256 << (code - 8)
    offset += {12: 1, 13: 2, 14: 2}.get(header[2] & 0x0F, 0)  # the sample rate
    if offset >= len(header) or _crc8(header[:offset]) != header[offset]:
        return None
    return number, samples


def _crc8(content: bytes) -> int:
    """Returns the CRC with polynomial x^8 + x^2 + x + 1."""
    value = 0
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07) & 0xFF if value & 0x80 else value << 1
    return value


def _crc16_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x8005) & 0xFFFF if value & 0x8000 else value << 1
        table.append(value)
    return tuple(table)


_CRC16 = _crc16_table()


def _crc16(content: bytes) -> int:
    """Returns the CRC with polynomial x^16 + x^15 + x^2 + 1: 0 if the content ends with its own."""
    value = 0
    for byte in content:
        value = (value << 8) & 0xFFFF ^ _CRC16[value >> 8 ^ byte]
    return value
