"""Small SavedModels."""

import numpy as np
import pytest
import tensorflow as tf
from hub.toy_modules import save

from hares_tf.hub import archive


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of modules that no other test uses."""
    monkeypatch.setenv("HARES_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def small_module(tmp_path_factory):
    """A small SavedModel with a variable and an asset."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "words.txt").write_text("yes\nno\n")
    small = tf.Module()
    small.scale = tf.Variable(2.0)
    small.words = tf.saved_model.Asset(str(folder / "words.txt"))
    small.__call__ = tf.function(
        lambda x: small.scale * x, input_signature=[tf.TensorSpec([None, None], tf.float32)]
    )
    tf.saved_model.save(small, str(folder / "m"))
    return folder / "m"


@pytest.fixture
def packed(small_module, tmp_path):
    archive.pack(small_module, tmp_path / "m.tar.gz")
    return tmp_path / "m.tar.gz"


@pytest.fixture(scope="session")
def toy_modules(tmp_path_factory):
    """Folders of toy modules, by what they are like."""
    root = tmp_path_factory.mktemp("toys")

    def outputs(toy, waveform, training):
        return {
            "embedding": toy.embed(waveform, training),
            "energy": tf.reduce_mean(waveform**2, 1),
        }

    def with_table(toy, waveform, training):
        if not hasattr(toy, "table"):
            entries = tf.lookup.KeyValueTensorInitializer([0, 1], [0.0, 10.0])
            toy.table = tf.lookup.StaticHashTable(entries, -1.0)
        loud = tf.cast(tf.reduce_max(waveform, 1, keepdims=True) > 0.5, tf.int32)
        return toy.embed(waveform, training) + toy.table.lookup(loud)

    def with_rate(toy, waveform, training):
        return toy.embed(waveform)

    def embed(toy, waveform, training):
        return toy.embed(waveform, training)

    def frames(toy, waveform, training):
        """As YAMNet: scores and embeddings of each frame of one waveform."""
        framed = tf.signal.frame(waveform, 4, 2)
        return tf.reduce_mean(framed, -1), toy.embed(framed, training)

    return {
        "plain": save(root / "plain", embed),
        "dictionary": save(root / "dictionary", outputs),
        "one_waveform": save(root / "one_waveform", frames, shape=[None]),
        "fixed": save(root / "fixed", embed, shape=[None, 8]),
        "table": save(root / "table", with_table),
        "signature": save(root / "signature", signature=lambda toy, x: {"embedding": toy.embed(x)}),
        "signature_of_two": save(
            root / "signature_of_two", signature=lambda toy, x: outputs(toy, x, False)
        ),
        "classifier": save(
            root / "classifier",
            embed,
            signature=lambda toy, x: {"embedding": toy.embed(x), "logits": 2 * toy.embed(x)},
        ),
        "unlisted": save(root / "unlisted", with_rate, training=(), lists=False),
        "without_training": save(root / "without_training", with_rate, training=()),
        "inference_only": save(root / "inference_only", embed, training=(False,)),
    }


@pytest.fixture(scope="module")
def waveform():
    return np.random.default_rng(0).uniform(-1, 1, (8, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def labels():
    return np.arange(8) % 2
