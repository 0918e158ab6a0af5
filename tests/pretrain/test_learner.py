"""The learning rate against its closed form, and the optimizer."""

import keras
import micro
import numpy as np
import pytest

from hares_tf.pretrain import PretrainError, load_config
from hares_tf.pretrain.learner import create_learner
from hares_tf.pretrain.optimizer import create_optimizer, learning_rate_schedule


@pytest.mark.parametrize("name", ["slowfast_nfnet_f0_simclr", "slowfast_nfnet_f0_classification"])
def test_schedule_is_the_papers(name):
    config = load_config(name)
    schedule = learning_rate_schedule(config)
    total, warm = config.steps, 5_000
    for step in (0, 1, 17, 2_500, 4_999, 5_000, 5_001, total // 3, total - 1, total):
        if step <= warm:
            expected = 2e-4 * step / warm
        else:
            expected = 1e-4 * (1 + np.cos(np.pi * (step - warm) / (total - warm)))
        # Keras computes the cosine in float32; its absolute error near 0 is that of 1.
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5, abs=2e-11)


def test_paper_settings():
    simclr, supervised = (
        load_config(f"slowfast_nfnet_f0_{name}") for name in ("simclr", "classification")
    )
    assert (simclr.batch, simclr.steps) == (4096, 200_000)
    assert (supervised.batch, supervised.steps) == (1024, 100_000)
    assert simclr.objective.to_dict() == {
        "name": "simclr", "temperature": 0.1, "hidden": 4096, "layers": 3, "size": 128,
        "mixing": "log_mel",
    }  # fmt: skip
    for config in (simclr, supervised):
        assert config.model.name == "slowfast_nfnet_f0"
        assert config.crops.to_dict() == {"seconds": 3.0, "fraction": 1.0, "pad": "zeros"}
        assert config.objective.mixing == "log_mel" and config.chunk == 0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"name": "adam", "epsilon": 1e-8}, keras.optimizers.Adam(0.1, epsilon=1e-8)),
        ({"name": "sgd", "momentum": 0.9}, keras.optimizers.SGD(0.1, momentum=0.9)),
        ({"name": "adamw", "weight_decay": 0.1}, keras.optimizers.AdamW(0.1, weight_decay=0.1)),
    ],
)
def test_optimizers_equal_those_of_keras_on_one_device(settings, expected):
    config = micro.get_config()
    config.optimizer = settings
    config.update({"learning_rate": 0.1, "warmup_steps": 0, "decay": "constant"})
    gradient = np.array([0.5, -2.0], np.float32)
    values = []
    for optimizer in (create_optimizer(config), expected):
        variable = keras.Variable([1.0, 2.0])
        for scale in (1.0, 3.0):
            optimizer.apply([keras.ops.convert_to_tensor(gradient * scale)], [variable])
        values.append(np.asarray(variable))
    np.testing.assert_array_equal(*values)


def test_a_constant_rate_follows_the_warm_up():
    config = micro.get_config()
    config.update({"learning_rate": 0.5, "warmup_steps": 4, "steps": 100, "decay": "constant"})
    rates = [float(learning_rate_schedule(config)(step)) for step in (0, 1, 4, 50, 99)]
    np.testing.assert_allclose(rates, [0.0, 0.125, 0.5, 0.5, 0.5])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "adan"}, "did you mean adam"),
        ({"name": "adam", "momentum": 1}, "no such argument"),
    ],
)
def test_unknown_optimizers_and_arguments(settings, words):
    config = micro.get_config()
    config.optimizer = settings
    with pytest.raises(PretrainError, match=words):
        create_optimizer(config)


def test_same_seed_same_weights():
    config = micro.get_config()
    first, again = create_learner(config, 0), create_learner(config, 0)
    config.seed = 1
    other = create_learner(config, 0)
    names = first.named_variables()
    assert names.keys() == again.named_variables().keys()
    differing = 0
    for name, variable in names.items():
        np.testing.assert_array_equal(variable, again.named_variables()[name])
        differing += (np.asarray(variable) != np.asarray(other.named_variables()[name])).any()
    assert differing > 20


def test_checkpoint_names():
    names = list(create_learner(micro.classification(), 3).named_variables())
    assert "encoder/network/slow/stem_conv0/kernel" in names
    assert "head/logits/kernel" in names and "head/logits/bias" in names
    assert sum(name.startswith("optimizer/") for name in names) == 2 * sum(
        not name.startswith("optimizer/") for name in names
    ) + 1  # the counter of steps; both moments of every parameter  # fmt: skip
