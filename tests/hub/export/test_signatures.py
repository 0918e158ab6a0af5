"""The signatures of an exported module: frames, padding, WAV files, training."""

import io

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from hares_tf.audio import load_audio
from hares_tf.hub import load, locate
from hares_tf.hub.export import module as hub_module
from hares_tf.hub.model_card import ModelCard
from hares_tf.models import create_model
from hares_tf.models.classifier import Classifier

# Whole exports, each of them checked in a process of its own.
pytestmark = pytest.mark.slow

#: Samples of 16 frames: the period with which the phases of all strided windows repeat.
PERIOD = 16 * 160
FAST = 48  # features of the fast path of the tiny network, which come first


@pytest.fixture(scope="module")
def awake(tiny_module):
    """The tiny module with its residual branches heard."""
    loaded = load(tiny_module)
    for variable in loaded.trainable_variables:
        if "skip_gain" in variable.name:
            variable.assign(1.0)
    return loaded


@pytest.fixture(scope="module")
def classifying(tmp_path_factory):
    """A module with three logits on the statistics of the log-mel spectrogram."""
    keras.utils.set_random_seed(3)
    model = create_model("log_mel_statistics")
    dense = keras.layers.Dense(3)
    dense.build((None, 160))
    folder = tmp_path_factory.mktemp("modules") / "classifying"
    hub_module.save(model, ModelCard({}), folder, Classifier(dense, ("a", "b", "c")))
    return load(folder)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def wav(samples, rate=16_000, subtype="PCM_16", container="WAV"):
    content = io.BytesIO()
    soundfile.write(content, samples, rate, subtype=subtype, format=container)
    return content.getvalue()


def test_names_and_shapes(awake, classifying):
    inputs = {
        "serving_default": {"waveform": (2, tf.float32)},
        "frames": {"waveform": (2, tf.float32)},
        "with_lengths": {"waveform": (2, tf.float32), "lengths": (1, tf.int32)},
        "wav_bytes": {"bytes": (1, tf.string)},
    }
    for module, added in ((awake, set()), (classifying, {"logits"})):
        assert set(module.signatures) == set(inputs)
        for name, signature in module.signatures.items():
            specs = signature.structured_input_signature[1]
            assert {k: (s.shape.rank, s.dtype) for k, s in specs.items()} == inputs[name]
            outputs = {"embedding"} | added | ({"frames"} if name == "frames" else set())
            assert set(signature.structured_outputs) == outputs
            for key, spec in signature.structured_outputs.items():
                assert spec.dtype == tf.float32 and spec.shape[0] is None
                assert spec.shape.rank == (3 if key == "frames" else 2)
                assert spec.shape[-1] is not None


class TestFrames:
    @pytest.mark.parametrize("samples", [1, 639, 640, 641, 10_401, 48_000])
    def test_features_before_pooling(self, awake, tiny_module, samples):
        hop = locate(tiny_module).card["frame_hop_samples"]
        found = awake.signatures["frames"](waveform=tf.constant(noise(2, samples)))
        embedding, frames = found["embedding"].numpy(), found["frames"].numpy()
        assert frames.shape == (2, -(-samples // hop), 304)
        np.testing.assert_allclose(awake(noise(2, samples)), embedding, atol=1e-6)
        fast, slow = np.split(frames, [FAST], axis=-1)
        np.testing.assert_allclose(fast.mean(axis=1), embedding[:, :FAST], atol=1e-5)
        # Each slow step is held for four fast ones; the last one is cut off where they end.
        np.testing.assert_array_equal(slow, np.repeat(slow[:, ::4], 4, axis=1)[:, : slow.shape[1]])
        np.testing.assert_allclose(slow[:, ::4].mean(axis=1), embedding[:, FAST:], atol=1e-5)

    def test_steps_follow_the_sound(self, awake):
        """A click moves the steps around it, and steps far away hardly."""
        quiet = noise(1, 64_000)
        loud = quiet.copy()
        loud[:, 48_000:48_200] += 0.5
        steps = [
            awake.signatures["frames"](waveform=tf.constant(x))["frames"] for x in (quiet, loud)
        ]
        change = np.abs(steps[1] - steps[0]).max(axis=-1)[0]
        assert abs(change.argmax() - 48_100 / 640) < 8
        assert change.max() > 3 * change[:20].max()

    def test_of_the_statistics(self, statistics_module):
        found = load(statistics_module).signatures["frames"](waveform=tf.constant(noise(2, 1700)))
        assert found["frames"].shape == (2, 11, 80)
        mean, deviation = np.mean(found["frames"], axis=1), np.std(found["frames"], axis=1)
        np.testing.assert_allclose(found["embedding"], np.hstack([mean, deviation]), rtol=1e-4)


def embed_padded(module, clips, padding, fill, **options):
    width = max(map(len, clips)) + padding
    batch = np.full((len(clips), width), 0, np.float32)
    batch[:] = fill(batch.shape)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    lengths = tf.constant([len(clip) for clip in clips], tf.int32)
    return module.signatures["with_lengths"](waveform=tf.constant(batch), lengths=lengths)


FILLS = {
    "zeros": np.zeros,
    "noise": lambda shape: noise(*shape, seed=9) * 50,
    "NaN": lambda shape: np.full(shape, np.nan),
    "infinity": lambda shape: np.full(shape, -np.inf),
}


class TestWithLengths:
    @pytest.fixture(scope="class")
    def clips(self):
        """All residues of the length modulo 16 frames, two lengths twice, in mixed order."""
        random = np.random.default_rng(1)
        lengths = [PERIOD + 160 * frames - random.integers(0, 160) for frames in range(16)]
        lengths += [lengths[3], lengths[8], 1, 160]
        random.shuffle(lengths)
        return [noise(length, seed=index) for index, length in enumerate(lengths)]

    @pytest.fixture(scope="class")
    def one_by_one(self, awake, clips):
        return np.concatenate([awake(clip) for clip in clips])

    @pytest.mark.parametrize("fill", FILLS)
    @pytest.mark.parametrize("padding", [0, 1, 4321])
    def test_padding_makes_no_difference(self, awake, clips, one_by_one, fill, padding):
        found = embed_padded(awake, clips, padding, FILLS[fill])["embedding"]
        np.testing.assert_allclose(found, one_by_one, atol=1e-4)
        assert np.ptp(one_by_one, axis=0).max() > 0.01  # the clips can be told apart

    def test_padding_would_make_one(self, awake):
        """What the signature is for: this is the error that it avoids."""
        clip = noise(1, 9000)
        padded = np.pad(clip, [(0, 0), (0, 7000)])
        assert np.abs(awake(padded) - awake(clip)).max() > 1e-2

    def test_whole_batch(self, awake):
        waveform = noise(3, 4000)
        found = awake.signatures["with_lengths"](
            waveform=tf.constant(waveform), lengths=tf.constant([4000] * 3, tf.int32)
        )
        np.testing.assert_allclose(found["embedding"], awake(waveform), atol=1e-6)

    @pytest.mark.parametrize("length", [0, -1, 101])
    def test_impossible_lengths_are_refused(self, awake, length):
        with pytest.raises(tf.errors.InvalidArgumentError, match="from 1 to the number of samples"):
            awake.signatures["with_lengths"](
                waveform=tf.constant(noise(2, 100)), lengths=tf.constant([50, length], tf.int32)
            )

    @pytest.mark.parametrize("count", [1, 3])
    def test_other_numbers_of_lengths_are_refused(self, awake, count):
        with pytest.raises(tf.errors.InvalidArgumentError, match="one length for each waveform"):
            awake.signatures["with_lengths"](
                waveform=tf.constant(noise(2, 100)), lengths=tf.constant([50] * count, tf.int32)
            )

    def test_empty_batch(self, awake):
        found = awake.signatures["with_lengths"](
            waveform=tf.zeros([0, 100]), lengths=tf.zeros([0], tf.int32)
        )
        assert found["embedding"].shape == (0, 304)

    def test_logits(self, classifying):
        clips = [noise(3000), noise(1000)]
        found = embed_padded(classifying, clips, 100, FILLS["NaN"])
        wanted = np.concatenate([classifying.logits(clip) for clip in clips])
        np.testing.assert_allclose(found["logits"], wanted, atol=1e-4)


class TestWavBytes:
    def test_any_lengths_and_channels(self, awake):
        files = [wav(noise(n, c, seed=n)) for n, c in ((3000, 1), (1, 1), (5001, 2), (3000, 3))]
        wanted = np.concatenate([awake(load_audio(file)) for file in files])
        found = awake.signatures["wav_bytes"](bytes=tf.constant(files))["embedding"]
        np.testing.assert_allclose(found, wanted, atol=1e-4)

    def test_no_channel_is_dropped(self, classifying):
        """Of two channels that cancel each other silence remains."""
        left = np.round(noise(2000) * 2**15) / 2**15
        opposed = wav(np.stack([left, -left], axis=-1))
        embedding = classifying.signatures["wav_bytes"](bytes=tf.constant([opposed]))["embedding"]
        np.testing.assert_allclose(embedding, classifying(np.zeros(2000, np.float32)), atol=1e-5)

    def test_chunks_before_and_behind_the_format(self, awake):
        file = wav(noise(3000))
        junk = b"JUNK" + (4).to_bytes(4, "little") + b"abcd"
        files = [file[:12] + junk + file[12:], file[:36] + junk + file[36:], file + junk, file]
        found = awake.signatures["wav_bytes"](bytes=tf.constant(files))["embedding"]
        np.testing.assert_allclose(found, np.repeat(found[3:], 4, axis=0), atol=1e-6)

    @pytest.mark.parametrize(
        ("file", "message"),
        [
            (wav(noise(100), rate=8000), r"\[16000\] \[Hz; in entry\] \[1\] \[it is\] \[8000\]"),
            (wav(noise(100), subtype="PCM_24"), r"entry\] \[1\] .* \[24\] \[bits a sample"),
            (wav(noise(100), subtype="PCM_U8"), r"entry\] \[1\] .* \[8\] \[bits a sample"),
            (wav(noise(100), subtype="FLOAT"), r"entry\] \[1\] \[has the format code\] \[3\]"),
            (wav(noise(100), container="WAVEX"), r"\[has the format code\] \[65534\]"),
            (wav(noise(100), container="FLAC"), r"entry\] \[1\] \[is not a WAV file"),
            (b"", r"entry\] \[1\] \[is not a WAV file"),
            (wav(noise(0)), r"no samples in entry\] \[1\]"),
            (wav(noise(100))[:-7], r"entry\] \[1\] \[is cut off"),
        ],
    )
    def test_other_files_are_refused(self, classifying, file, message):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            classifying.signatures["wav_bytes"](bytes=tf.constant([wav(noise(100)), file]))

    def test_logits(self, classifying):
        files = [wav(noise(3000)), wav(noise(1000))]
        found = classifying.signatures["wav_bytes"](bytes=tf.constant(files))["logits"]
        wanted = np.concatenate([classifying.logits(load_audio(file)) for file in files])
        np.testing.assert_allclose(found, wanted, atol=1e-4)


class TestTrainFn:
    def test_is_a_call_in_training(self, awake):
        waveform = noise(16, 2000)
        inference = awake(waveform)
        draws = [awake.train_fn(waveform) for _ in range(4)]
        assert all(draw.shape == inference.shape for draw in draws)
        assert any(np.abs(draw - inference).max() > 1e-3 for draw in draws)
        assert any(np.abs(draw - draws[0]).max() > 1e-3 for draw in draws[1:])

    def test_in_a_layer_of_keras(self, tiny_module):
        layer = keras.layers.TFSMLayer(
            tiny_module, call_endpoint="__call__", call_training_endpoint="train_fn"
        )
        for variable in layer._reloaded_obj.trainable_variables:
            if "skip_gain" in variable.name:
                variable.assign(1.0)
        waveform = noise(16, 2000)
        inference = layer(waveform, training=False)
        np.testing.assert_array_equal(layer(waveform, training=False), inference)
        draws = [layer(waveform, training=True) for _ in range(4)]
        assert any(np.abs(draw - inference).max() > 1e-3 for draw in draws)
