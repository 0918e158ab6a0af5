"""Windows and batches: every sample of every clip reaches the encoder once, in its place."""

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation import Encoder, EvaluationError
from hares_tf.evaluation.embeddings import embedding
from hares_tf.evaluation.embeddings.embedding import Item, batch_size, embed_items
from hares_tf.evaluation.embeddings.mixing import mixed_targets, mixtures
from hares_tf.evaluation.embeddings.windows import Plan, cut, window_samples
from hares_tf.recordings import decoding, sound
from hares_tf.recordings.sound import FileSound

RATE = 16000


def _cut(clip, plan, window, key="clip"):
    return cut(clip, plan.starts(len(clip), window, RATE, key), window)


def test_tiles_cover_the_clip_and_pad_the_end():
    clip, plan = np.arange(1, 8, dtype=np.float32), Plan("tiles", 1.0)
    np.testing.assert_array_equal(_cut(clip, plan, 3), [[1, 2, 3], [4, 5, 6], [7, 0, 0]])
    np.testing.assert_array_equal(_cut(clip[:6], plan, 3), [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(_cut(clip[:1], plan, 3), [[1, 0, 0]])
    np.testing.assert_array_equal(_cut(clip[:0], plan, 2), [[0, 0]])
    assert window_samples(2.5, 16000) == 40000 and window_samples(0.01, 8000) == 80


def test_spread_windows_reach_from_the_first_to_the_last_sample():
    plan = Plan("spread", 3.0, count=10)
    starts = plan.starts(160_000, 48_000, RATE, "clip")  # ten seconds, as AudioSet's clips
    assert starts[0] == 0 and starts[-1] == 112_000 and len(starts) == 10
    assert set(np.diff(starts)) <= {12444, 12445}  # 7 s in nine steps
    short = _cut(np.ones(5, np.float32), plan, 8)
    np.testing.assert_array_equal(short, np.tile([1, 1, 1, 1, 1, 0, 0, 0], (10, 1)))


def test_grid_windows_fit():
    plan = Plan("grid", 1.0, hop_seconds=0.25)
    starts = plan.starts(2 * RATE + 100, RATE, RATE, "clip")
    np.testing.assert_array_equal(starts, [0, 4000, 8000, 12000, 16000])


def test_crops_are_a_pure_function_of_clip_and_seed_and_cover_it():
    plan = Plan("crops", 1.0, count=2000)
    starts = plan.starts(300, 100, RATE, "a")
    np.testing.assert_array_equal(starts, plan.starts(300, 100, RATE, "a"))
    assert starts.min() == 0 and starts.max() == 200
    # Uniform over 201 places: the mean of 2000 draws has a deviation of 1.3.
    assert abs(starts.mean() - 100) < 7
    assert (starts != plan.starts(300, 100, RATE, "b")).any()
    other = Plan("crops", 1.0, count=2000, seed=1)
    assert (starts != other.starts(300, 100, RATE, "a")).any()
    np.testing.assert_array_equal(plan.starts(50, 100, RATE, "a"), 0)


def test_mixtures_stay_within_their_part_and_share_labels():
    parts = ["1"] * 5 + ["2"] * 5
    digests = [f"d{i}" for i in range(10)]
    found = mixtures(digests, parts, 400, seed=0)
    for own, mixture in enumerate(found):
        assert {parts[p] for p in mixture.partners} == {parts[own]}
    shares = np.concatenate([mixture.shares for mixture in found])
    # Beta(5, 2): mean 5/7, variance 10/392.
    assert abs(shares.mean() - 5 / 7) < 0.01 and abs(shares.var() - 10 / 392) < 0.002
    assert len({mixture.key for mixture in found}) == 10
    assert found[3].key == mixtures(digests, parts, 400, seed=0)[3].key
    assert found[3].key != mixtures(digests, parts, 400, seed=1)[3].key
    targets = np.eye(10, dtype=np.float32)
    soft = mixed_targets(targets, 3, found[3])
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
    for row, partner, share in zip(soft, found[3].partners, found[3].shares, strict=True):
        assert row[3] == pytest.approx(1 if partner == 3 else share)


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
    def add(self, key, embeddings):
        assert key not in self
        self[key] = embeddings.copy()


def _tiles(samples):
    return Plan("tiles", samples / RATE)


def _items(folder, lengths):
    random = np.random.default_rng(0)
    items, waveforms = [], []
    for index, length in enumerate(lengths):
        waveform = random.integers(-9000, 9000, length).astype(np.int16)
        path = folder / f"{index}.wav"
        soundfile.write(path, waveform, RATE, subtype="PCM_16")
        items.append(Item(f"key{index}", FileSound(str(path))))
        waveforms.append(waveform.astype(np.float32) / 32768)
    return items, waveforms


@pytest.mark.parametrize("batch", [1, 4, 7])
def test_every_window_of_every_clip_in_its_place(tmp_path, batch, monkeypatch):
    monkeypatch.setattr(embedding, "batch_size", lambda seconds: batch)
    items, waveforms = _items(tmp_path, [1, 499, 500, 501, 6000, 40, 1250, 500])
    recorder, memory, done = _Recorder(), _Memory(), []
    failures = embed_items(
        items, _tiles(500), Encoder(recorder, RATE), memory, lambda: done.append(1)
    )
    assert failures == {} and len(done) == len(items)
    assert set(recorder.shapes) == {(batch, 500)}
    for item, waveform in zip(items, waveforms, strict=True):
        windows = _cut(waveform, _tiles(500), 500)
        expected = np.stack([windows.sum(axis=1), windows[:, 0]], axis=1)
        np.testing.assert_allclose(memory[item.key], expected, atol=1e-4)


def test_mixed_windows_are_sums_of_waveforms(tmp_path):
    items, waveforms = _items(tmp_path, [100, 100, 60])
    mixed = Item("mixed", items[0].sound, (items[1].sound, items[2].sound), (0.75, 0.5))
    memory = _Memory()
    plan = Plan("crops", 100 / RATE, count=2, mixing=True)
    assert embed_items([mixed], plan, Encoder(_Recorder(), RATE), memory) == {}
    for row, other, share in zip(memory["mixed"], waveforms[1:], (0.75, 0.5), strict=True):
        expected = share * waveforms[0].sum() + (1 - share) * other.sum()
        assert row[0] == pytest.approx(expected, abs=1e-4)


def test_unreadable_clips_are_reported_and_the_rest_embedded(tmp_path):
    items, _ = _items(tmp_path, [100, 100, 100])
    (tmp_path / "1.wav").write_bytes(b"no sound at all")
    memory, done = _Memory(), []
    failures = embed_items(
        items, _tiles(100), Encoder(_Recorder(), RATE), memory, lambda: done.append(1)
    )
    assert list(failures) == ["key1"] and "1.wav" in failures["key1"]
    assert set(memory) == {"key0", "key2"} and len(done) == 3


def test_the_ending_of_a_file_name_decides_nothing(tmp_path):
    _, waveforms = _items(tmp_path, [100])
    (tmp_path / "0.wav").rename(tmp_path / "sound.raw")
    memory = _Memory()
    item = Item("a", FileSound(str(tmp_path / "sound.raw")))
    assert embed_items([item], _tiles(100), Encoder(_Recorder(), RATE), memory) == {}
    np.testing.assert_allclose(memory["a"][0, 1], waveforms[0][0], atol=1e-6)


def test_a_clip_that_vanishes_is_a_failure_not_a_crash(tmp_path):
    gone = Item("a", FileSound(str(tmp_path / "gone.wav")))
    failures = embed_items([gone], _tiles(100), Encoder(_Recorder(), RATE), _Memory())
    assert "gone.wav" in failures["a"]


def test_infinite_embeddings_name_the_clip(tmp_path):
    items, _ = _items(tmp_path, [100])
    broken = Encoder(lambda batch: np.full((len(batch), 3), np.nan, np.float32), RATE)
    with pytest.raises(EvaluationError, match=r"NaN.*0\.wav"):
        embed_items(items, _tiles(100), broken, _Memory())


def test_an_encoder_that_raises_names_the_clip(tmp_path):
    items, _ = _items(tmp_path, [100])

    def raises(batch):
        raise RuntimeError("I only take 3 s")

    with pytest.raises(EvaluationError, match=r"0\.wav.*I only take 3 s"):
        embed_items(items, _tiles(100), Encoder(raises, RATE), _Memory())


def test_long_recordings_are_not_decoded_together(tmp_path, monkeypatch):
    """What waits for the encoder is bounded by its decoded size, not by that of the files."""
    items = []
    for index in range(12):  # silence: a few kilobytes on disk, 2 MB decoded
        path = tmp_path / f"{index}.flac"
        soundfile.write(path, np.zeros(500_000, np.int16), RATE)
        items.append(Item(str(index), FileSound(str(path))))
    monkeypatch.setattr(decoding, "_AHEAD_BYTES", 9 * 2**20)
    started, handed_over, most = [], [], []
    load = sound.load_audio

    def counting(path, rate):
        started.append(path)
        most.append(len(started) - len(handed_over))
        return load(path, rate)

    monkeypatch.setattr(sound, "load_audio", counting)
    for key, windows in embedding._decoded(items, _tiles(500_000), 500_000, RATE):
        handed_over.append(key)
        assert windows.shape == (1, 500_000)
    assert handed_over == [item.key for item in items]
    # 4 MB each while being resampled: two fit, and one more may be on its way to the encoder.
    assert max(most) <= 3


def test_an_encoder_that_changes_the_batch_is_refused(tmp_path):
    items, _ = _items(tmp_path, [100])
    encoder = Encoder(lambda batch: np.zeros((1, 3)), RATE)
    with pytest.raises(EvaluationError, match="shape"):
        embed_items(items, _tiles(100), encoder, _Memory())
