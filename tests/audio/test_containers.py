"""Every sample of a file comes out, or an error says why: containers x faults x sources."""

import io
import tarfile
import zipfile

import numpy as np
import pytest
import soundfile

from hares_tf.audio import AudioError, load_audio
from hares_tf.recordings.archives import sounds_in

RATE = 16000
SECONDS = 2


def tone(channels: int = 1, rate: int = RATE, frequency: float = 440.0) -> np.ndarray:
    t = np.arange(SECONDS * rate) / rate
    return np.repeat(0.4 * np.sin(2 * np.pi * frequency * t)[:, None], channels, axis=1)


def encoded(file_format, subtype=None, channels=1, rate=RATE, **options) -> bytes:
    stream = io.BytesIO()
    waveform = tone(channels, rate)
    soundfile.write(stream, waveform, rate, subtype=subtype, format=file_format, **options)
    return stream.getvalue()


def id3(size: int) -> bytes:
    """An ID3v2 tag whose contents have `size` bytes."""
    sizes = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + sizes + bytes(size)


SOURCES = ("path", "memory", "zip", "tar", "tgz")


def loaded(content: bytes, source: str, folder) -> np.ndarray:
    """Loads a sound by one of the ways in which sounds reach the decoder."""
    if source == "memory":
        return load_audio(content)
    if source == "path":
        (folder / "a.wav").write_bytes(content)
        return load_audio(folder / "a.wav")
    archive = folder / f"sounds.{source}"
    if source == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("a.wav", content)
    else:
        with tarfile.open(archive, "w:gz" if source == "tgz" else "w:") as packed:
            member = tarfile.TarInfo("a.wav")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return sounds_in(archive)["a.wav"].load(RATE)


CONTAINERS = {
    "WAV": encoded("WAV"),
    "WAV 24": encoded("WAV", "PCM_24", 3),
    "RF64": encoded("RF64"),
    "AIFF": encoded("AIFF"),
    "AU": encoded("AU"),
    "CAF": encoded("CAF", "PCM_16"),
    "W64": encoded("W64"),
    "NIST": encoded("NIST"),
    "FLAC": encoded("FLAC"),
    "Vorbis": encoded("OGG", "VORBIS"),
    "Opus": encoded("OGG", "OPUS"),
    "MP3": encoded("MP3"),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("tag", [0, 500, 70_000])
def test_every_source_gives_the_same(name, tag, source, tmp_path):
    """ID3v2 tags in front of the sound; libsndfile alone loses as much sound in memory."""
    content = CONTAINERS[name]
    expected = load_audio(content)
    assert len(expected) == SECONDS * RATE
    waveform = loaded(id3(tag) + content if tag else content, source, tmp_path)
    np.testing.assert_array_equal(waveform, expected)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    "name", [name for name in CONTAINERS if name not in ("AU", "CAF", "W64", "NIST")]
)
def test_files_that_were_joined(name, source, tmp_path):
    """The second file may have another rate and other channels, as `cat` allows."""
    file_format, _, subtype = {
        "Vorbis": "OGG VORBIS",
        "Opus": "OGG OPUS",
        "WAV 24": "WAV PCM_24",
    }.get(name, name).partition(" ")
    rate = 48000 if name == "Opus" else 44100
    second = encoded(file_format, subtype or None, channels=2, rate=rate)
    expected = np.concatenate([load_audio(CONTAINERS[name]), load_audio(second)])
    np.testing.assert_array_equal(loaded(CONTAINERS[name] + second, source, tmp_path), expected)


@pytest.mark.parametrize("name", ["AU", "CAF", "W64", "NIST"])
def test_files_that_were_joined_and_are_refused(name):
    with pytest.raises(AudioError, match="second file"):
        load_audio(CONTAINERS[name] + CONTAINERS[name])


# As SoX, ffmpeg and arecord write them to a pipe, rounded down to whole frames by some.
PIPE_SIZES = {
    "0": lambda frame: 0,
    "all bits": lambda frame: 0xFFFFFFFF,
    "SoX": lambda frame: 0x7FFFF000 // frame * frame,
    "arecord": lambda frame: 0x7FFFFFFF // frame * frame,
    "arecord 2": lambda frame: 0x7FFFFF00 // frame * frame,
    "2 GiB": lambda frame: 0x80000000 // frame * frame,
    "all bits without the header": lambda frame: 0xFFFFFFFF - 36,
}


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 6, 7])
@pytest.mark.parametrize(("subtype", "width"), [("PCM_16", 2), ("PCM_24", 3), ("FLOAT", 4)])
@pytest.mark.parametrize("size", PIPE_SIZES)
def test_wav_from_a_pipe(channels, subtype, width, size):
    whole = encoded("WAV", subtype, channels)
    content = bytearray(whole)
    place = content.index(b"data") + 4
    stated = PIPE_SIZES[size](channels * width)
    content[place : place + 4] = stated.to_bytes(4, "little")
    content[4:8] = min(stated + place - 4, 0xFFFFFFFF).to_bytes(4, "little")
    np.testing.assert_array_equal(load_audio(bytes(content)), load_audio(whole))


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 7])
@pytest.mark.parametrize(("subtype", "width"), [("PCM_16", 2), ("PCM_24", 3)])
@pytest.mark.parametrize("size", [0x7F000000, 0xFFFFFFFF, 0])
def test_aiff_from_a_pipe(channels, subtype, width, size):
    frame = channels * width
    whole = encoded("AIFF", subtype, channels)
    content = bytearray(whole)
    place = content.index(b"SSND") + 4
    stated = size if size == 0xFFFFFFFF else size // frame * frame + 8
    content[place : place + 4] = stated.to_bytes(4, "big")
    content[4:8] = min(stated + place, 0xFFFFFFFF).to_bytes(4, "big")
    common = content.index(b"COMM") + 10
    content[common : common + 4] = (size // frame).to_bytes(4, "big")
    np.testing.assert_array_equal(load_audio(bytes(content)), load_audio(whole))


@pytest.mark.parametrize("name", ["RF64", "W64", "CAF", "AU"])
@pytest.mark.parametrize("size", [0, (1 << 64) - 1])
def test_other_containers_from_a_pipe(name, size):
    content = bytearray(CONTAINERS[name])
    width, order, name_of_size, distance = {
        "RF64": (8, "little", b"ds64", 16),
        "W64": (8, "little", b"data", 16),
        "CAF": (8, "big", b"data", 4),
        "AU": (4, "big", b".snd", 8),
    }[name]
    place = content.index(name_of_size) + distance
    content[place : place + width] = (size & (1 << 8 * width) - 1).to_bytes(width, order)
    np.testing.assert_array_equal(load_audio(bytes(content)), load_audio(CONTAINERS[name]))


@pytest.mark.parametrize("name", CONTAINERS)
def test_truncated(name):
    content = CONTAINERS[name]
    for kept in (0.3, 0.6, 0.95):
        with pytest.raises(AudioError, match="truncated"):
            load_audio(content[: int(kept * len(content))])


@pytest.mark.parametrize(
    ("file_format", "subtype"),
    [
        ("VOC", "PCM_16"),
        ("IRCAM", "PCM_16"),
        ("SVX", "PCM_16"),
        ("PVF", "PCM_16"),
        ("AVR", "PCM_16"),
    ],
)
def test_containers_that_cannot_be_checked_are_refused(file_format, subtype):
    """libsndfile reads them, cut or whole, without a word."""
    with pytest.raises(AudioError, match="convert it to WAV or FLAC"):
        load_audio(encoded(file_format, subtype))


def with_mp3_count(content: bytes, count: int | None) -> bytes:
    """States another number of frames in the Xing tag, or none."""
    changed = bytearray(content)
    flags = changed.index(b"Xing" if b"Xing" in changed else b"Info") + 4
    if count is None:
        changed[flags : flags + 4] = (changed[flags + 3] & ~1).to_bytes(4, "big")
        del changed[flags + 4 : flags + 8]
        changed[flags + 148 : flags + 148] = bytes(4)  # the frame keeps its length
    else:
        changed[flags + 4 : flags + 8] = count.to_bytes(4, "big")
    return bytes(changed)


def mp3_count(content: bytes) -> int:
    flags = content.index(b"Xing" if b"Xing" in content else b"Info") + 4
    return int.from_bytes(content[flags + 4 : flags + 8], "big")


def ape(flags: int) -> bytes:
    """The header or footer of an APE tag with 32 bytes of contents."""
    numbers = b"".join(value.to_bytes(4, "little") for value in (2000, 64, 1, flags))
    return b"APETAGEX" + numbers + bytes(8)


TAILS = {
    "nothing": b"",
    "ID3v1": b"TAG" + bytes(125),
    "APE": ape(0xA0000000) + bytes(range(1, 33)) + ape(0x80000000),
    "lyrics": b"LYRICSBEGIN" + b"IND0000200" + b"000031LYRICS200" + b"TAG" + bytes(125),
    "zeros": bytes(5000),
}  # fmt: skip


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("stated", ["none", 0, 1, 0.5])
def test_mp3_that_states_too_few_frames(stated, mode, tail):
    whole = encoded("MP3", bitrate_mode=mode)
    count = mp3_count(whole)
    frames = None if stated == "none" else int(stated * count) if stated == 0.5 else stated
    waveform = load_audio(with_mp3_count(whole, frames) + TAILS[tail])
    np.testing.assert_array_equal(waveform, load_audio(whole))


def test_mp3_with_a_vbri_tag():
    whole = encoded("MP3", bitrate_mode="VARIABLE")
    first = whole.index(whole[:2], 4)
    frame = bytearray(whole[:first])
    frame[4:] = bytes(len(frame) - 4)
    frame[36:40] = b"VBRI"
    expected = load_audio(whole[first:])
    for count in (0, 1, mp3_count(whole) // 2, mp3_count(whole)):
        frame[50:54] = count.to_bytes(4, "big")
        np.testing.assert_array_equal(load_audio(bytes(frame) + whole[first:]), expected)
    frame[50:54] = (2 * mp3_count(whole)).to_bytes(4, "big")
    with pytest.raises(AudioError, match="truncated"):
        load_audio(bytes(frame) + whole[first:])


def test_mp3_with_bytes_between_its_frames():
    whole = encoded("MP3", bitrate_mode="CONSTANT")
    middle = whole.index(whole[:2], len(whole) // 2)
    with pytest.raises(AudioError, match="no MPEG audio frame"):
        load_audio(whole[:middle] + b"junk" * 30 + whole[middle:])


@pytest.mark.parametrize("stated", [0, 1, SECONDS * RATE // 2])
def test_flac_that_states_too_few_samples(stated):
    content = bytearray(CONTAINERS["FLAC"])
    content[21] &= 0xF0
    content[22:26] = stated.to_bytes(4, "big")
    for tail in (b"", b"TAG" + bytes(125)):
        np.testing.assert_array_equal(
            load_audio(bytes(content) + tail), load_audio(CONTAINERS["FLAC"])
        )


def test_flac_whose_header_states_another_rate():
    """It would come out 16 times as long."""
    content = bytearray(CONTAINERS["FLAC"])
    content[18:20] = (1000 >> 4).to_bytes(2, "big")
    content[20] = (content[20] & 0x0F) | (1000 & 0x0F) << 4
    with pytest.raises(AudioError, match="1000 Hz, its frames 16000 Hz"):
        load_audio(bytes(content))


def test_flac_with_samples_that_look_like_a_frame():
    """Noise is stored as it is, and may hold the header of a frame, checksum included."""
    header = b"\xff\xf8\xc5\x08\x01\x68"  # the second of several frames of 4096 samples
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, 10_000, dtype=np.int16)
    samples[-20:-17] = np.frombuffer(header, ">i2")
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="FLAC")
    content = file.getvalue()
    assert header in content[-60:]
    for stated in (10_000, 0):
        changed = bytearray(content)
        changed[22:26] = stated.to_bytes(4, "big")
        np.testing.assert_array_equal(load_audio(bytes(changed)), samples / np.float32(2**15))


@pytest.mark.parametrize("name", ["Vorbis", "Opus"])
def test_ogg_with_damaged_or_missing_pages(name):
    """libogg drops such pages without a word."""
    stream = io.BytesIO()
    noise = np.random.default_rng(0).normal(0, 0.1, 20 * RATE)
    soundfile.write(stream, noise, RATE, format="OGG", subtype=name.upper())
    content = stream.getvalue()
    pages = [k for k in range(len(content)) if content.startswith(b"OggS", k)]
    assert len(pages) > 6
    damaged = bytearray(content)
    damaged[(pages[4] + pages[5]) // 2] ^= 1
    with pytest.raises(AudioError, match="corrupt"):
        load_audio(bytes(damaged))
    with pytest.raises(AudioError, match="missing"):
        load_audio(content[: pages[4]] + content[pages[5] :])
    with pytest.raises(AudioError, match="no Ogg page"):
        load_audio(content[: pages[4]] + b"junk" + content[pages[4] :])


def test_wav_whose_data_chunk_is_stated_too_short():
    content = bytearray(CONTAINERS["WAV"])
    place = content.index(b"data") + 4
    content[place : place + 4] = (SECONDS * RATE).to_bytes(4, "little")  # half of it
    with pytest.raises(AudioError, match="the header is damaged"):
        load_audio(bytes(content))


def test_more_sound_than_the_bytes_can_hold():
    """A damaged rate makes a few bytes last for minutes."""
    stream = io.BytesIO()
    soundfile.write(stream, np.tile(tone(), (2, 1)), RATE, format="AU", subtype="G723_24")
    content = bytearray(stream.getvalue())
    content[16:20] = (1000).to_bytes(4, "big")
    with pytest.raises(AudioError, match=r"states 64 seconds of sound in \d+ bytes"):
        load_audio(bytes(content))
