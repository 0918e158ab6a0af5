"""Windows and batches: every sample of every clip reaches the encoder once, in its place."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation import Encoder, EvaluationError, embedding
from hares_tf.evaluation.embedding import batch_size, embed_clips
from hares_tf.evaluation.tasks import Clip
from hares_tf.evaluation.windows import tile, window_samples


def test_tiles_cover_the_clip_and_pad_the_end():
    clip = np.arange(1, 8, dtype=np.float32)
    np.testing.assert_array_equal(tile(clip, 3), [[1, 2, 3], [4, 5, 6], [7, 0, 0]])
    np.testing.assert_array_equal(tile(clip[:6], 3), [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(tile(clip[:1], 3), [[1, 0, 0]])
    np.testing.assert_array_equal(tile(clip[:0], 2), [[0, 0]])
    assert window_samples(2.5, 16000) == 40000 and window_samples(0.01, 8000) == 80


def test_batches_hold_the_same_amount_of_audio():
    assert [batch_size(seconds) for seconds in (1, 3, 5, 600)] == [48, 16, 10, 1]


class _Recorder:
    """Embeds a window as its sum and its first sample, and remembers the shapes it was given."""

    def __init__(self):
        self.shapes = []

    def __call__(self, batch):
        self.shapes.append(batch.shape)
        return np.stack([batch.sum(axis=1), batch[:, 0]], axis=1)


class _Memory(dict):
    def add(self, digest, embeddings):
        assert digest not in self
        self[digest] = embeddings.copy()


def _clips(folder, lengths):
    random = np.random.default_rng(0)
    clips, waveforms = [], []
    for index, length in enumerate(lengths):
        waveform = random.integers(-9000, 9000, length).astype(np.int16)
        path = folder / f"{index}.wav"
        soundfile.write(path, waveform, 16000, subtype="PCM_16")
        clips.append(Clip(id=path.name, path=path, label="x", part="train"))
        waveforms.append(waveform.astype(np.float32) / 32768)
    return clips, waveforms


@pytest.mark.parametrize("batch", [1, 4, 7])
def test_every_window_of_every_clip_in_its_place(tmp_path, batch):
    window = 500
    clips, waveforms = _clips(tmp_path, [1, 499, 500, 501, 6000, 40, 1250, 500])
    recorder, memory, done = _Recorder(), _Memory(), []
    digests = [f"digest{i}" for i in range(len(clips))]
    failures = embed_clips(
        clips, digests, Encoder(recorder, 16000), window, batch, memory, lambda: done.append(1)
    )
    assert failures == {} and len(done) == len(clips)
    assert set(recorder.shapes) == {(batch, window)}
    for digest, waveform in zip(digests, waveforms, strict=True):
        windows = tile(waveform, window)
        expected = np.stack([windows.sum(axis=1), windows[:, 0]], axis=1)
        np.testing.assert_allclose(memory[digest], expected, atol=1e-4)


def test_unreadable_clips_are_reported_and_the_rest_embedded(tmp_path):
    clips, _ = _clips(tmp_path, [100, 100, 100])
    clips[1].path.write_bytes(b"no sound at all")
    memory, done = _Memory(), []
    failures = embed_clips(
        clips, ["a", "b", "c"], Encoder(_Recorder(), 16000), 100, 2, memory, lambda: done.append(1)
    )
    assert list(failures) == ["b"] and "1.wav" in failures["b"]
    assert set(memory) == {"a", "c"} and len(done) == 3


def test_the_ending_of_a_file_name_decides_nothing(tmp_path):
    clips, waveforms = _clips(tmp_path, [100])
    clip = dataclasses.replace(clips[0], path=clips[0].path.rename(tmp_path / "sound.raw"))
    memory = _Memory()
    assert embed_clips([clip], ["a"], Encoder(_Recorder(), 16000), 100, 2, memory) == {}
    np.testing.assert_allclose(memory["a"][0, 1], waveforms[0][0], atol=1e-6)


def test_a_clip_that_vanishes_is_a_failure_not_a_crash(tmp_path):
    gone = Clip(id="gone", path=Path(tmp_path / "gone.wav"), label="x", part="train")
    failures = embed_clips([gone], ["a"], Encoder(_Recorder(), 16000), 100, 2, _Memory())
    assert "gone.wav" in failures["a"]


def test_infinite_embeddings_name_the_clip(tmp_path):
    clips, _ = _clips(tmp_path, [100])
    broken = Encoder(lambda batch: np.full((len(batch), 3), np.nan, np.float32), 16000)
    with pytest.raises(EvaluationError, match=r"NaN.*0\.wav"):
        embed_clips(clips, ["a"], broken, 100, 2, _Memory())


def test_an_encoder_that_raises_names_the_clip(tmp_path):
    clips, _ = _clips(tmp_path, [100])

    def raises(batch):
        raise RuntimeError("I only take 3 s")

    with pytest.raises(EvaluationError, match=r"0\.wav.*I only take 3 s"):
        embed_clips(clips, ["a"], Encoder(raises, 16000), 100, 2, _Memory())


def test_long_recordings_are_not_decoded_together(tmp_path, monkeypatch):
    """What waits for the encoder is bounded by its decoded size, not by that of the files."""
    clips = []
    for index in range(12):  # silence: a few kilobytes on disk, 2 MB decoded
        path = tmp_path / f"{index}.flac"
        soundfile.write(path, np.zeros(500_000, np.int16), 16000)
        clips.append(Clip(id=path.name, path=path, label="x", part="train"))
    monkeypatch.setattr(embedding, "_AHEAD_BYTES", 9 * 2**20)
    started, handed_over, most = [], [], []
    load = embedding.load_audio

    def counting(path, rate):
        started.append(path)
        most.append(len(started) - len(handed_over))
        return load(path, rate)

    monkeypatch.setattr(embedding, "load_audio", counting)
    digests = [str(index) for index in range(12)]
    for digest, waveform in embedding._decoded(clips, digests, 16000):
        handed_over.append(digest)
        assert len(waveform) == 500_000
    assert handed_over == digests
    # 4 MB each while being resampled: two fit, and one more may be on its way to the encoder.
    assert max(most) <= 3


def test_an_encoder_that_changes_the_batch_is_refused(tmp_path):
    clips, _ = _clips(tmp_path, [100])
    with pytest.raises(EvaluationError, match="shape"):
        embed_clips(clips, ["a"], Encoder(lambda b: np.zeros((1, 3)), 16000), 100, 2, _Memory())
