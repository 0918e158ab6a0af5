"""Containers of sound: finds where the streams in a file really end.

libsndfile trusts what a header states: it stops early where a count is too small, and says nothing
when a file was cut short or when a second stream follows the first. Containers are therefore read
here first. The result is a list of streams to decode, with a corrected header where the stated one
misleads, or the reason why the file cannot be used. The rule: every sample, or a sentence.
"""

from typing import BinaryIO

from hares_tf.audio.containers import aiff, flac, mpeg, ogg, others, wav
from hares_tf.audio.containers.source import HEADER_BYTES, UNKNOWN_SIZES, Container, Source, Stream

__all__ = ["HEADER_BYTES", "UNKNOWN_SIZES", "Container", "Stream", "examine"]


def examine(stream: BinaryIO, size: int) -> Container:
    """Reads the container of a sound file; unknown containers pass.

    Args:
        stream: the file's bytes, seekable; its position is changed.
        size: the file's size in bytes.
    """
    source = Source(stream, 0, size)
    start = mpeg.after_id3v2(source, 0)
    container = _examine(source.from_offset(start))
    if start == 0 or container.problem:
        return container
    # libsndfile skips ID3v2 tags in files, but takes the sound for shorter in memory.
    return Container(
        streams=tuple(
            Stream(source.rest(start), item.samples) if item.content is None else item
            for item in container.streams
        )
    )


def _examine(source: Source) -> Container:
    magic = source.read(0, 40)
    if magic[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and magic[8:12] == b"WAVE":
        return wav.examine(source)
    if magic[:4] == b"FORM" and magic[8:12] in (b"AIFF", b"AIFC"):
        return aiff.examine(source)
    if magic[:4] == b"OggS":
        return ogg.examine(source)
    if magic[:4] == b"fLaC":
        return flac.examine(source)
    for name, check in others.CHECKS.items():
        if magic.startswith(name):
            return check(source)
    if mpeg.Frame.parse(magic) is not None:
        return mpeg.examine(source)
    return Container()
