"""load_audio: every format against the signal that was written, and every way a file is broken."""

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hares_tf.audio import AudioError, decode, load_audio

RATE = 16000


def signal(samples: int = RATE, rate: int = RATE) -> np.ndarray:
    """Two tones with an envelope, peak about 0.8; low enough for lossy codecs to keep them."""
    t = np.arange(samples) / rate
    tones = 0.5 * np.sin(2 * np.pi * 440 * t) + 0.3 * np.sin(2 * np.pi * 1000 * t)
    return tones * np.sin(np.pi * np.arange(samples) / samples)


def encoded(waveform, file_format, subtype=None, rate=RATE, **options) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, waveform, rate, subtype=subtype, format=file_format, **options)
    return stream.getvalue()


# Half a step of the quantizer for linear codes (libsndfile truncates some: a whole step); A-law and
# mu-law have 13 and 14 bit steps at best and 1/32 relative ones at the top; lossy codecs: measured
# errors are below half of the tolerance.
FORMATS = [
    ("WAV", "PCM_U8", 2**-7),
    ("WAV", "PCM_16", 2**-15),
    ("WAV", "PCM_24", 2**-23),
    ("WAV", "PCM_32", 1e-7),  # float32 has 24 bits
    ("WAV", "FLOAT", 1e-7),
    ("WAV", "DOUBLE", 1e-7),
    ("WAV", "ALAW", 2**-5),
    ("WAV", "ULAW", 2**-5),
    ("WAVEX", "PCM_16", 2**-15),
    ("RF64", "PCM_16", 2**-15),
    ("AIFF", "PCM_16", 2**-15),
    ("AU", "PCM_16", 2**-15),
    ("FLAC", "PCM_S8", 2**-7),
    ("FLAC", "PCM_16", 2**-15),
    ("FLAC", "PCM_24", 2**-23),
    ("OGG", "VORBIS", 0.1),
    ("OGG", "OPUS", 0.5),  # not made for tones; its timing is checked below
    ("MP3", "MPEG_LAYER_III", 0.1),
]


@pytest.mark.parametrize(("file_format", "subtype", "tolerance"), FORMATS)
def test_formats(file_format, subtype, tolerance, tmp_path):
    expected = signal()
    content = encoded(expected, file_format, subtype)
    path = tmp_path / "a sound – ünïcode"
    path.write_bytes(content)
    from_path = load_audio(path)
    assert from_path.dtype == np.float32 and from_path.shape == (RATE,)
    assert np.abs(from_path - expected).max() <= tolerance
    # The sound is where it was: one sample of delay would make this 0.97.
    assert np.corrcoef(from_path, expected)[0, 1] > (0.95 if subtype == "OPUS" else 0.999)
    for same in (str(path), os.fsencode(path).decode(), content, bytearray(content),
                 memoryview(content)):  # fmt: skip
        np.testing.assert_array_equal(load_audio(same), from_path)


@pytest.mark.parametrize("file_format", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_any_rate_and_channels(file_format, channels, rate):
    """Channels are averaged before resampling: opposite parts vanish, common ones stay."""
    common, opposite = signal(rate, rate), 0.1 * np.sin(np.arange(rate) * 0.05)
    columns = common[:, None] + opposite[:, None] * [1, -1][:channels]
    if channels == 1:
        columns = common[:, None]
    waveform = load_audio(encoded(columns, file_format, rate=rate))
    assert abs(len(waveform) - RATE) <= 1
    expected = signal()[: len(waveform)]
    tolerance = 1e-3 if file_format in ("WAV", "FLAC") else 0.1
    assert np.abs(waveform[: len(expected)] - expected).max() < tolerance


def test_many_channels():
    gains = np.linspace(0, 1, 9)
    waveform = load_audio(encoded(signal()[:, None] * gains, "WAV", "FLOAT"))
    np.testing.assert_allclose(waveform, signal() * gains.mean(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("rate", "target"),
    [(44100, 16000), (8000, 16000), (96000, 16000), (11025, 16000), (16000, 44100), (44101, 16000)],
)
def test_resampling_a_sine(rate, target):
    """Against the same sine at the new rate, in closed form; the filter rings at the edges."""
    t = np.arange(2 * rate) / rate
    waveform = load_audio(encoded(0.9 * np.sin(2 * np.pi * 997 * t), "WAV", "FLOAT", rate), target)
    assert abs(len(waveform) - 2 * target) <= 1
    expected = 0.9 * np.sin(2 * np.pi * 997 * np.arange(len(waveform)) / target)
    inside = slice(target // 10, -target // 10)
    assert np.abs(waveform - expected)[inside].max() < 1e-4


def test_resampling_removes_what_the_new_rate_cannot_hold():
    t = np.arange(48000) / 48000
    waveform = load_audio(encoded(0.9 * np.sin(2 * np.pi * 11000 * t), "WAV", "FLOAT", 48000))
    assert np.abs(waveform[1600:-1600]).max() < 1e-4  # -80 dB


def test_clipping():
    loud = np.array([0.5, 1.5, -3.0, 1.0, -1.0] * 100)
    waveform = load_audio(encoded(loud, "WAV", "FLOAT"))
    np.testing.assert_array_equal(waveform, np.clip(loud, -1, 1).astype(np.float32))
    square = np.sign(np.sin(np.arange(48000) * 0.01))
    resampled = load_audio(encoded(square, "WAV", "FLOAT", 48000))
    assert np.abs(resampled).max() == 1.0  # overshoot of the filter, clipped


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("rate", [16000, 48000, 8000])
def test_shortest_clips(samples, rate):
    waveform = load_audio(encoded(np.full(samples, 0.25), "WAV", "FLOAT", rate))
    assert waveform.size >= 1 and np.isfinite(waveform).all()


def test_long_files_are_read_in_blocks(monkeypatch):
    columns = np.stack([signal(), 0.5 * signal()], axis=1)
    whole = {name: encoded(columns, name) for name in ("WAV", "FLAC", "OGG", "MP3", "CAF")}
    whole["Opus"] = encoded(columns, "OGG", "OPUS")
    whole["ADPCM"] = encoded(columns, "WAV", "IMA_ADPCM")
    whole["FLAC without length"] = without_flac_length(whole["FLAC"])
    expected = {name: load_audio(content) for name, content in whole.items()}
    for samples in (2 * 1000, 2 * RATE, 2 * RATE // 2):  # also such that the last block is full
        monkeypatch.setattr(decode, "_BLOCK_SAMPLES", samples)
        for name, content in whole.items():
            np.testing.assert_array_equal(load_audio(content), expected[name], err_msg=name)


def without_flac_length(content: bytes) -> bytes:
    """What an encoder leaves that writes to a pipe: 36 bits of total samples are 0."""
    changed = bytearray(content)
    changed[21] &= 0xF0
    changed[22:26] = bytes(4)
    return bytes(changed)


def test_flac_without_length():
    content = encoded(signal(), "FLAC")
    streamed = without_flac_length(content)
    np.testing.assert_array_equal(load_audio(streamed), load_audio(content))
    with pytest.raises(AudioError, match="truncated"):
        load_audio(streamed[: len(streamed) // 2])


def wav_with_sizes(riff: int, data: int, tail: bytes = b"", magic: bytes = b"RIFF") -> bytes:
    content = bytearray(encoded(signal(), "WAV", "PCM_16") + tail)
    assert content[36:40] == b"data"
    content[:8] = magic + riff.to_bytes(4, "little")
    content[40:44] = data.to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000])
@pytest.mark.parametrize("riff", [0, 36, 0xFFFFFFFF])
def test_wav_written_to_a_pipe(riff, size):
    waveform = load_audio(wav_with_sizes(riff, size))
    assert np.abs(waveform - signal()).max() <= 2**-15


def test_wav_with_other_chunks():
    content = encoded(signal(), "WAV", "PCM_16")
    # A chunk of odd length (with its pad byte) before the data, and one after it.
    note = b"note" + (5).to_bytes(4, "little") + b"hello\0"
    for changed in (content[:36] + note + content[36:], content + note):
        np.testing.assert_array_equal(load_audio(changed), load_audio(content))
        broken = changed[: len(content) - 1000]
        with pytest.raises(AudioError, match="truncated"):
            load_audio(broken)


def test_wav_without_data_but_with_other_chunks_has_no_samples():
    content = bytearray(encoded(np.zeros(0), "WAV", "PCM_16"))
    content += b"LIST" + (4).to_bytes(4, "little") + b"INFO"
    content[4:8] = (len(content) - 8).to_bytes(4, "little")
    with pytest.raises(AudioError, match="no samples"):
        load_audio(bytes(content))


def mp3_without_tag(content: bytes) -> bytes:
    """Drops the first frame, which only holds the Xing tag, as cutting tools do."""
    second = content.index(content[:2], 4)
    while content[second + 2] & 0x0C != content[2] & 0x0C:
        second = content.index(content[:2], second + 1)
    return content[second:]


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_mp3_without_a_length_is_read_to_its_end(mode, rate):
    """libsndfile alone returns a third of such a variable-bitrate file."""
    generator = np.random.default_rng(0)
    quiet_then_loud = signal(5 * rate, rate) + 0.1 * generator.standard_normal(5 * rate)
    quiet_then_loud *= np.arange(5 * rate) > 2 * rate
    tagged = encoded(quiet_then_loud, "MP3", rate=rate, compression_level=0.5, bitrate_mode=mode)
    bare = mp3_without_tag(tagged)
    expected = load_audio(tagged, rate)
    for content in (bare, b"ID3\x03\0\0\0\0\x02\0" + bytes(256) + bare, bare + b"TAG" + bytes(125)):
        waveform = load_audio(content, rate)
        # Without the tag the codec's delay at both ends stays in: at most three frames.
        extra = len(waveform) - len(expected)
        assert 0 < extra <= 3 * 1152
        sample = slice(3 * rate, 3 * rate + 2000)
        lag = min(range(extra), key=lambda k: np.abs(waveform[k:][sample] - expected[sample]).max())
        aligned = waveform[lag : lag + len(expected)]
        np.testing.assert_allclose(aligned[2000:-2000], expected[2000:-2000], rtol=0, atol=1e-6)


def test_flac_behind_an_id3_tag():
    content = encoded(signal(), "FLAC")
    tagged = b"ID3\x03\0\0\0\0\x02\0" + bytes(256) + content
    np.testing.assert_array_equal(load_audio(tagged), load_audio(content))


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.99, "all but one byte"])
@pytest.mark.parametrize(
    ("file_format", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("RF64", "PCM_16"), ("AIFF", "PCM_16"),
     ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")],
)  # fmt: skip
def test_truncated(file_format, subtype, kept, tmp_path):
    content = encoded(signal(4 * RATE), file_format, subtype)
    length = len(content) - 1 if isinstance(kept, str) else int(kept * len(content))
    path = tmp_path / "cut.sound"
    path.write_bytes(content[:length])
    with pytest.raises(AudioError, match=r"cut\.sound.* is truncated"):
        load_audio(path)
    with pytest.raises(AudioError, match="truncated"):
        load_audio(content[:length])


def test_flac_and_mp3_cut_between_frames():
    """No decoder fails there: only the stated length tells."""
    flac = bytearray(encoded(signal(), "FLAC"))
    flac[22:26] = (RATE + 5000).to_bytes(4, "big")
    with pytest.raises(AudioError, match="truncated"):
        load_audio(bytes(flac))
    mp3 = bytearray(encoded(signal(4 * RATE), "MP3"))
    flags = mp3.index(b"Xing" if b"Xing" in mp3 else b"Info") + 4
    stated = int.from_bytes(mp3[flags + 4 : flags + 8], "big")
    mp3[flags + 4 : flags + 8] = (2 * stated).to_bytes(4, "big")
    with pytest.raises(AudioError, match="truncated"):
        load_audio(bytes(mp3))


def test_ogg_cut_between_pages():
    content = encoded(signal(40 * RATE), "OGG")
    last = content.rindex(b"OggS")
    assert last > 0
    with pytest.raises(AudioError, match="does not end the stream"):
        load_audio(content[:last])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"This is a text, not a sound." * 50, "not a sound"),
        (b"\x89PNG\r\n\x1a\n" + bytes(1000), "not a sound"),
        (bytes(1000), "not a sound"),
        (b"RIFF", "not a sound"),
        (b"OggS", "truncated"),
        (encoded(np.zeros(0), "WAV"), "no samples"),
        (encoded(np.zeros(0), "AU"), "no samples"),
        (encoded(np.zeros(0), "AIFF"), "no samples"),
        (encoded([0.0, np.nan, 0.0], "WAV", "FLOAT"), "NaN or infinite"),
        (encoded([0.0, np.inf], "WAV", "FLOAT"), "NaN or infinite"),
        (encoded([0.0, -np.inf], "WAV", "DOUBLE"), "NaN or infinite"),
        (encoded([0.0, 1e300], "WAV", "DOUBLE"), "NaN or infinite"),  # infinite as float32
        (encoded([[np.inf, -np.inf]], "WAV", "FLOAT"), "NaN or infinite"),
        (encoded([0.0, 32.0], "WAV", "FLOAT"), "integers stored as floats"),
        (encoded([0.0, -32768.0], "WAV", "FLOAT"), "integers stored as floats"),
        (encoded([[30000.0, -30000.0]], "WAV", "FLOAT"), "integers stored as floats"),
        (encoded([0.0, 0.5], "WAV", "FLOAT", 7), "sample rate of 7 Hz"),
    ],
    # Not the bytes: they hold the second in which they were made, and processes that share the
    # tests must agree on names.
    ids=lambda value: value if isinstance(value, str) else "content",
)
def test_unusable_contents(content, message, tmp_path):
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=message) as raised:
        load_audio(path)
    assert str(path) in str(raised.value)
    with pytest.raises(AudioError, match=message):
        load_audio(content)


def test_the_name_does_not_choose_the_format(tmp_path):
    """libsndfile would read any bytes as sound when the name ends in .vox, .gsm or .raw."""
    for ending in ("raw", "vox", "gsm", "mp3"):
        path = tmp_path / f"text.{ending}"
        path.write_bytes(b"nothing that sounds " * 100)
        with pytest.raises(AudioError, match="not a sound"):
            load_audio(path)
    path.write_bytes(encoded(signal(), "WAV"))
    assert load_audio(path).shape == (RATE,)


def test_unusable_paths(tmp_path, monkeypatch):
    with pytest.raises(AudioError, match="is a directory"):
        load_audio(tmp_path)
    with pytest.raises(AudioError, match=r"missing\.wav' does not exist"):
        load_audio(tmp_path / "missing.wav")
    with pytest.raises(AudioError, match="cannot be opened"):
        load_audio("nul\0byte.wav")
    with pytest.raises(AudioError, match="cannot be opened"):
        load_audio(tmp_path / ("x" * 300))
    with pytest.raises(AudioError, match="NoneType"):
        load_audio(None)
    with pytest.raises(AudioError, match="int"):
        load_audio(3)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AudioError, match="not a regular file"):
        load_audio(tmp_path / "pipe")
    locked = tmp_path / "locked.wav"
    locked.write_bytes(encoded(signal(), "WAV"))
    if os.geteuid() == 0:  # root may read everything, so the refusal is played

        def refuse(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("builtins.open", refuse)
    else:
        locked.chmod(0)
    with pytest.raises(AudioError, match=r"locked\.wav' may not be read"):
        load_audio(locked)


@pytest.mark.parametrize("rate", [0, -1, 4_000_001, 10**30, True, 16000.0, "16000", None])
def test_unusable_rate(rate):
    with pytest.raises(AudioError, match="sample rate must be a whole number of hertz"):
        load_audio(encoded(signal(), "WAV"), rate)


def test_damaged_files_never_surprise():
    """Noise and damaged files: AudioError or a usable waveform, nothing else, never a crash."""
    generator = np.random.default_rng(0)
    whole = [encoded(signal(2000), name, kind) for name, kind, _ in FORMATS]
    beginnings = [b"", b"RIFF\x24\0\0\0WAVEfmt ", b"fLaC\0\0\0\x22", b"OggS\0\2"]
    beginnings += [b"\xff\xfb\x90\x64", b"ID3\3\0\0\0\0\0\0", b"FORM\0\0\0\0AIFF"]
    beginnings += [b"RF64\xff\xff\xff\xffWAVEds64"]
    outcomes = {"decoded": 0, "refused": 0}
    for seed in range(1500):
        if seed % 3 == 0:
            content = beginnings[seed // 3 % len(beginnings)] + generator.bytes(seed)
        else:
            changed = bytearray(whole[seed % len(whole)])
            reach = min(len(changed), 64 if seed % 3 == 1 else len(changed))
            for position in generator.integers(0, reach, generator.integers(1, 12)):
                changed[position] = generator.choice([0, 1, 127, 128, 255])
            content = bytes(changed[: generator.integers(0, len(changed))] if seed % 5 == 0
                            else changed)  # fmt: skip
        try:
            waveform = load_audio(content)
        except AudioError as error:
            assert len(str(error)) > 20
            outcomes["refused"] += 1
        else:
            assert waveform.ndim == 1 and waveform.size and waveform.dtype == np.float32
            assert np.abs(waveform).max() <= 1.0  # False for NaN
            outcomes["decoded"] += 1
    assert min(outcomes.values()) > 100, outcomes


def test_threads(tmp_path):
    names = ("WAV", "FLAC", "OGG", "MP3")
    for name in names:
        (tmp_path / name).write_bytes(encoded(signal(3 * 22050, 22050), name, rate=22050))
    (tmp_path / "bad").write_bytes(b"no sound at all")
    expected = {name: load_audio(tmp_path / name) for name in names}

    def work(index):
        name = names[index % 4]
        with pytest.raises(AudioError, match="not a sound"):
            load_audio(tmp_path / "bad")
        source = tmp_path / name
        return np.array_equal(load_audio(source if index % 8 < 4 else source.read_bytes()),
                              expected[name])  # fmt: skip

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))


def test_real_recordings(shared_dir):
    """Against soundfile alone, which reads these 16 kHz FLAC files well."""
    paths = sorted((shared_dir / "data").rglob("*.flac"))[::400]
    assert paths
    for path in paths:
        expected, rate = soundfile.read(path, dtype="float32")
        if rate == RATE and expected.ndim == 1:
            np.testing.assert_array_equal(load_audio(path), expected)
        else:
            assert abs(len(load_audio(path)) - len(expected) * RATE / rate) <= 1


def test_decoding_imports_neither_keras_nor_tensorflow():
    program = (
        "import sys; from hares_tf.audio import load_audio, AudioError; "
        "found = {'keras', 'tensorflow'} & set(sys.modules); "
        "assert not found, found; "
        "from hares_tf.audio import LogMel, Standardize; assert 'keras' in sys.modules; "
        "import hares_tf.audio as audio; assert {'LogMel', 'load_audio'} <= set(dir(audio))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


@pytest.mark.parametrize("given", ["a path", "bytes"])
def test_a_sound_that_does_not_fit_into_memory(tmp_path, monkeypatch, given):
    soundfile.write(tmp_path / "long.wav", np.zeros(800, np.float32), 8_000)

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("soxr.resample", fail)
    sound = tmp_path / "long.wav"
    with pytest.raises(AudioError, match="does not fit into memory; cut it into shorter"):
        load_audio(sound if given == "a path" else sound.read_bytes(), 16_000)
