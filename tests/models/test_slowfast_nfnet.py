"""Behavior of the NFNet models that does not need the recorded numbers (variant `tiny`)."""

import keras
import numpy as np
import pytest
import reference_network as reference

from hares_tf.checkpoints import load_haiku_parameters
from hares_tf.checkpoints.haiku import haiku_variables
from hares_tf.layers import ALPHA
from hares_tf.models import ModelError, SinglePathNFNet, SlowFastNFNet
from hares_tf.models.nfnet_variants import VARIANTS, block_settings

# (beta, stochastic-depth rate) of the twelve blocks of f0, from the official code.
F0_BLOCKS = [
    (1.0000000000000000, 0.000000),
    (0.9805806756909201, 0.008333),
    (0.9805806756909201, 0.016667),
    (0.9622504486493761, 0.025000),
    (0.9805806756909201, 0.033333),
    (0.9622504486493761, 0.041667),
    (0.9449111825230679, 0.050000),
    (0.9284766908852592, 0.058333),
    (0.9128709291752768, 0.066667),
    (0.8980265101338742, 0.075000),
    (0.9805806756909201, 0.083333),
    (0.9622504486493761, 0.091667),
]


def filled(network):
    """A network whose residual branches speak (a new one has skip gain 0)."""
    network.build((None, None, None, 1))
    variables = haiku_variables(network)
    load_haiku_parameters(network, {n: reference.fill(n, v.shape) for n, v in variables.items()})
    return network


@pytest.fixture(scope="module")
def network():
    return filled(SlowFastNFNet("tiny"))


def log_mel(batch=2, frames=98, bins=80):
    generator = np.random.default_rng(7)
    return generator.standard_normal((batch, frames, bins, 1)).astype(np.float32)


def test_beta_and_drop_rates():
    settings = block_settings(VARIANTS["f0"].depths, ALPHA)
    np.testing.assert_allclose([s.beta for s in settings], [b for b, _ in F0_BLOCKS], rtol=1e-15)
    np.testing.assert_allclose(
        [s.drop_rate for s in settings], [r for _, r in F0_BLOCKS], atol=1e-6
    )
    assert [s.stage for s in settings] == [0, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize("variant", ["f0", "small", "tiny"])
def test_groups_divide_widths(variant):
    for path in (VARIANTS[variant].slow, VARIANTS[variant].fast):
        assert all(channels % (2 * path.group_size) == 0 for channels in path.stage_channels)


def test_tiny_is_tiny(network):
    assert network.count_params() < 300_000
    assert network(log_mel()).shape == (2, network.embedding_size)
    assert 200 <= network.embedding_size <= 400


def test_new_network_ignores_its_residual_branches():
    network = SlowFastNFNet("tiny")
    x = log_mel(4)
    np.testing.assert_array_equal(network(x), network(x, training=True))
    kept = np.zeros((len(network.residual_mask_rows), 4))
    np.testing.assert_array_equal(network(x), network(x, residual_masks=kept))


def test_same_global_seed_gives_the_same_network():
    embeddings = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        embeddings.append(np.asarray(SlowFastNFNet("tiny")(log_mel())))
    np.testing.assert_array_equal(embeddings[0], embeddings[1])
    assert np.abs(embeddings[0] - embeddings[2]).max() > 0.01


@pytest.mark.parametrize("frames,bins", [(1, 1), (1, 80), (2, 3), (15, 7), (16, 64), (301, 128)])
def test_any_size(network, frames, bins):
    fast, slow = network.feature_maps(log_mel(1, frames, bins))
    assert fast.shape[1:3] == (-(-frames // 4), -(-bins // 32))
    assert slow.shape[1:3] == (-(-frames // 16), -(-bins // 32))
    assert np.isfinite(network(log_mel(1, frames, bins))).all()


def test_embedding_is_the_mean_of_the_feature_maps_fast_first(network):
    fast, slow = (np.asarray(m) for m in network.feature_maps(log_mel()))
    pooled = np.concatenate([fast.mean(axis=(1, 2)), slow.mean(axis=(1, 2))], axis=1)
    np.testing.assert_allclose(network(log_mel()), pooled, rtol=1e-5, atol=1e-6)


def test_examples_do_not_see_each_other(network):
    x = log_mel(3)
    alone = np.concatenate([network(x[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(network(x), alone, rtol=1e-4, atol=1e-5)


def test_each_mask_row_silences_its_own_block(network):
    x, rows = log_mel(1), len(network.residual_mask_rows)
    kept = np.asarray(network(x))
    np.testing.assert_array_equal(network(x, residual_masks=np.ones((rows, 1))), kept)
    silenced = []
    for row in range(rows):
        masks = np.ones((rows, 1))
        masks[row] = 0
        silenced.append(np.asarray(network(x, residual_masks=masks)))
        name, block = network.residual_mask_rows[row].split("/block")
        gain = getattr(network, name).blocks[int(block)].skip_gain
        value = np.array(gain)
        gain.assign(0.0)
        np.testing.assert_array_equal(network(x), silenced[row])
        gain.assign(value)
        assert np.abs(silenced[row] - kept).max() > 1e-3
    assert rows == 8


def test_training_draws_per_example(network):
    x = np.repeat(log_mel(1), 64, axis=0)
    embeddings = np.asarray(network(x, training=True))
    distinct = len(np.unique(embeddings.round(4), axis=0))
    # 8 branches with rates of 0.02 to 0.08: a third of the examples loses at least one.
    assert 2 <= distinct < 64
    assert np.ptp(np.asarray(network(x)), axis=0).max() < 1e-4


def test_mask_of_a_wrong_size_is_refused(network):
    with pytest.raises(ModelError, match="has 3 rows; this network needs 8"):
        network(log_mel(), residual_masks=np.ones((3, 2)))


@pytest.mark.parametrize("make", [SlowFastNFNet, SinglePathNFNet])
def test_unknown_variant_is_refused(make):
    with pytest.raises(
        ModelError, match=r"no Slowfast NFNet variant 'f9'; choose one of f0, .*tiny"
    ):
        make("f9")


def test_unknown_path_is_refused():
    with pytest.raises(ModelError, match="no path 'middle'"):
        SinglePathNFNet("tiny", "middle")


@pytest.mark.parametrize(
    "make",
    [
        lambda: SlowFastNFNet("tiny"),
        lambda: SinglePathNFNet("tiny", "fast"),
        lambda: SinglePathNFNet("tiny", "slow"),
    ],
    ids=["two paths", "fast", "slow"],
)
def test_files_restore_the_network(make, tmp_path):
    network = filled(make())
    expected = network(log_mel())
    network.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert type(restored) is type(network)
    np.testing.assert_array_equal(restored(log_mel()), expected)

    network.save_weights(tmp_path / "model.weights.h5")
    other = make()
    other.build((None, None, None, 1))
    assert np.abs(other(log_mel()) - expected).max() > 1e-3
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(log_mel()), expected)


def test_all_variables_exist_after_build(network):
    fresh = SlowFastNFNet("tiny")
    fresh.build((None, None, None, 1))
    count = len(fresh.variables)
    fresh(log_mel())
    assert len(fresh.variables) == count
    assert len({variable.path for variable in fresh.variables}) == count


def test_keras_input(network):
    inputs = keras.Input((None, 80, 1))
    model = keras.Model(inputs, network(inputs))
    assert model.output_shape == (None, network.embedding_size)
    np.testing.assert_array_equal(model(log_mel()), network(log_mel()))


def test_fit_lowers_the_loss():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([SinglePathNFNet("tiny", "fast"), keras.layers.Dense(2)])
    model.compile(
        keras.optimizers.Adam(1e-2),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,  # tracing and compiling take longer than these six steps
    )
    x = log_mel(16, 32, 32)
    x[8:, :, :16] += 2.0
    history = model.fit(x, np.repeat([0, 1], 8), batch_size=16, epochs=6, verbose=0)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]


def test_mixed_bfloat16_keeps_float32_where_it_matters(network):
    mixed = filled(SlowFastNFNet("tiny", dtype="mixed_bfloat16"))
    fast, slow = mixed.feature_maps(log_mel())
    assert fast.dtype == slow.dtype == "bfloat16"
    embedding = mixed(log_mel())
    assert embedding.dtype == "float32"
    conv = mixed.slow.blocks[2].conv1
    assert conv.effective_kernel().dtype == "float32"
    # bfloat16 rounds by up to 0.4 %, several times in each of about 40 layers; 3.4 % was seen.
    expected = np.asarray(network(log_mel()))
    assert np.sqrt(np.mean((embedding - expected) ** 2)) < 0.1 * np.std(expected)


def test_float64_is_float64_throughout(network):
    double = filled(SlowFastNFNet("tiny", dtype="float64"))
    assert {variable.dtype for variable in double.trainable_variables} == {"float64"}
    embedding = double(log_mel())
    assert embedding.dtype == "float64"
    np.testing.assert_allclose(network(log_mel()), embedding, atol=5e-5)
