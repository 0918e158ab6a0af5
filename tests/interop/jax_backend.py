"""The encoders under Keras' JAX backend, where no TensorFlow is installed.

Run by `make test-interop` in an environment of its own; the numbers to meet are TensorFlow's.
"""

import functools
import importlib.util
import os
from pathlib import Path

import jax
import keras
import numpy as np
import pytest

from hares_tf.checkpoints.variable_names import named_variables
from hares_tf.models import create_model

FOLDER = Path(os.environ["HARES_INTEROP"]) / "encoders"
ENCODERS = sorted(path.stem for path in FOLDER.glob("*.npz"))
# Of the largest value. Float32 convolutions of another library, summed in another order: both are
# as far from float64 as from each other.
OUTPUT_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3


def test_this_is_jax_without_tensorflow():
    assert keras.backend.backend() == "jax"
    assert importlib.util.find_spec("tensorflow") is None
    assert len(ENCODERS) >= 2


@pytest.fixture(scope="module", params=ENCODERS)
def case(request):
    """(model with TensorFlow's weights, what TensorFlow recorded)."""
    with np.load(FOLDER / f"{request.param}.npz", allow_pickle=False) as arrays:
        recorded = {name: arrays[name] for name in arrays.files}
    model = create_model(request.param)
    variables = named_variables(model, "variable")
    assert set(variables) == {name for name in recorded if name.startswith("variable/")}
    for name, variable in variables.items():
        variable.assign(recorded[name])
    return model, recorded


def _values(variables):
    return [variable.value for variable in variables]


def test_embedding_and_gradient_are_those_of_tensorflow(case):
    model, recorded = case

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def run(trainable, frozen):
        embedding, _ = model.stateless_call(trainable, frozen, recorded["waveform"], training=False)
        return keras.ops.mean(embedding**2), embedding

    (_, embedding), gradients = run(
        _values(model.trainable_variables), _values(model.non_trainable_variables)
    )
    wanted = recorded["embedding"]
    deviation = np.abs(np.asarray(embedding) - wanted).max() / np.abs(wanted).max()
    print(f"{model.name}: embeddings deviate by {deviation:.1e} of the largest")
    assert wanted.std() > 0.01 and deviation < OUTPUT_TOLERANCE
    norms = np.array([np.linalg.norm(np.asarray(gradient)) for gradient in gradients])
    wanted = recorded["gradient_norms"]
    assert norms.shape == wanted.shape == (len(model.trainable_variables),)
    if len(norms):
        assert np.isfinite(norms).all() and np.count_nonzero(wanted) > 50
        deviation = np.abs(norms - wanted).max() / wanted.max()
        print(f"{model.name}: norms of {len(norms)} gradients deviate by {deviation:.1e}")
        assert deviation < GRADIENT_TOLERANCE


def test_stochastic_depth_draws(case):
    """Two training steps under JAX draw differently; nothing is drawn where nothing is dropped."""
    model, recorded = case

    @jax.jit
    def step(frozen):
        return model.stateless_call(
            _values(model.trainable_variables), frozen, recorded["waveform"], training=True
        )

    frozen, draws = _values(model.non_trainable_variables), []
    for _ in range(4):
        embedding, frozen = step(frozen)
        draws.append(np.asarray(embedding))
    assert np.isfinite(draws).all()
    differ = any(not np.array_equal(draws[0], draw) for draw in draws[1:])
    assert differ == bool(model.trainable_variables)
