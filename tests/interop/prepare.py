"""What `make test-interop` shows to other environments, made by this package's own.

    python tests/interop/prepare.py FOLDER

FOLDER/module             `slowfast_nfnet_tiny` as `hares-export` writes it
FOLDER/embeddings.npz     waveforms, and what the Keras model in memory makes of them
FOLDER/encoders/NAME.npz  an encoder's variables by name, a waveform, its embedding, and the
                          Euclidean norm of a gradient by each trainable variable
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Without it (the default depends on the processor), native convolutions in groups have no gradient.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf

from hares_tf.checkpoints.variable_names import named_variables
from hares_tf.commands import export as command
from hares_tf.models import create_model, list_models

# They differ from `slowfast_nfnet_tiny` by widths and depths alone, and take minutes to compile.
TOO_LARGE = {"slowfast_nfnet_f0", "slowfast_nfnet_small"}
# [batch, samples]: one sample, less than a frame, odd lengths.
SHAPES = [(1, 1), (3, 159), (2, 16_000), (4, 24_007)]


def awake(name: str):
    """A model with random weights whose branches all have an effect (see `Encoder.awake`)."""
    keras.utils.set_random_seed(0)
    model = create_model(name)
    with model.awake() as changed:
        values = [np.asarray(variable) for variable in changed]
    for variable, value in zip(changed, values, strict=True):
        variable.assign(value)
    return model


def waveforms(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)


def export(folder: Path) -> None:
    """The module, exported as a user does it, and embeddings that are not computed by it."""
    model = awake("slowfast_nfnet_tiny")
    weights = folder / "tiny.weights.h5"
    model.save_weights(weights)
    flags = [f"--weights={weights}", f"--output={folder / 'module'}", "--overwrite"]
    if command.main(["--model=slowfast_nfnet_tiny", *flags]) != 0:
        raise SystemExit("hares-export failed")
    arrays = {}
    for shape in SHAPES:
        case = f"{shape[0]}x{shape[1]}"
        arrays[f"waveform/{case}"] = waveforms(shape)
        arrays[f"embedding/{case}"] = np.asarray(model(waveforms(shape), training=False))
    np.savez(folder / "embeddings.npz", **arrays)


def record(name: str, folder: Path) -> None:
    """One encoder's variables, embedding and gradient under TensorFlow."""
    model, waveform = awake(name), waveforms((2, 8000))
    with tf.GradientTape() as tape:
        embedding = model(waveform, training=False)
        loss = tf.reduce_mean(embedding**2)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / f"{name}.npz",
        waveform=waveform,
        embedding=np.asarray(embedding),
        gradient_norms=np.array([np.linalg.norm(np.asarray(g)) for g in gradients]),
        **{key: np.asarray(value) for key, value in named_variables(model, "variable").items()},
    )


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    export(folder)
    for name in sorted(set(list_models()) - TOO_LARGE):
        record(name, folder / "encoders")


if __name__ == "__main__":
    main()
