"""Weights -> Hub module: write it under a temporary name, check it, rename it."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from hares_tf.hub.errors import HubError
from hares_tf.hub.export import conformance
from hares_tf.hub.export.card import make_card
from hares_tf.hub.flavors import FLOAT32, REUSABLE, SERVING, check_flavor
from hares_tf.models.classifier import Classifier
from hares_tf.utils.files import atomic_directory
from hares_tf.utils.tensorflow import keep_float32, literal_path

# (batch, seconds or samples): one sample, less than a frame, odd lengths, several batch sizes.
_CASES = {"1x1": (1, 1), "3x159": (3, 159), "2x16000": (2, 16_000), "5x48037": (5, 48_037)}
_LONG_SECONDS = 60
_AWAKE_CASES = ("1x1", "2x16000")


def export_module(
    model,
    output: str | os.PathLike,
    *,
    weights: dict,
    name: str | None = None,
    version: int = 1,
    description: str = "",
    classifier: Classifier | None = None,
    overwrite: bool = False,
    flavor: str = REUSABLE,
    precision: str = FLOAT32,
) -> tuple[Path, list[str]]:
    """Exports a built `WaveformEncoder` as a Hub module.

    The module appears at `output` only after a fresh process without Keras has found that it keeps
    its promises (`hub.conformance`).

    Args:
        model: the encoder.
        output: the folder to create.
        weights: where the weights come from, for the card: at least {"source": ...}.
        name: the module's name; default: the model's.
        version: of the module.
        description: one sentence for the card.
        classifier: on the embedding; the module then gives logits, too.
        overwrite: replace a module that is there already.
        flavor: "reusable" (can be trained) or "serving" (inference only, faster).
        precision: "float32", or for the serving flavor "bfloat16".

    Returns:
        The folder, and one line for each check that was made.

    Raises:
        HubError: `output` exists, there is no such flavor of the model, or the exported module
            deviates from the model.
    """
    from hares_tf.hub.export import module

    keep_float32()
    output = Path(output)
    check_destination(output, overwrite)
    check_flavor(flavor, precision)
    form = {"flavor": flavor, "precision": precision}
    deviation = _check_folding(model, precision) if flavor == SERVING else None
    card = make_card(
        model,
        name or model.name,
        version,
        weights,
        description,
        classifier,
        **form,
        deviation=deviation,
    )
    with tempfile.TemporaryDirectory() as scratch, atomic_directory(output, overwrite) as temporary:
        try:
            module.save(model, card, temporary, classifier, **form)
        except Exception as error:
            # TensorFlow wraps a full disk in its own error types.
            raise HubError(f"Cannot write the SavedModel to {output.parent}: {error}") from error
        cases = reference_cases(model)
        if classifier is not None:
            cases |= classifier_cases(classifier, cases)
        cases |= {name: np.array(value) for name, value in form.items()}
        cases_file = Path(scratch) / "cases.npz"
        np.savez(cases_file, **cases)  # type: ignore[arg-type]
        checks = _conformance(temporary, cases_file)
    return output, checks


def check_destination(output: Path, overwrite: bool) -> None:
    if not output.exists():
        return
    if not overwrite:
        raise HubError(f"{output} exists already; choose another --output, or add --overwrite.")
    is_module = output.is_dir() and (output / "saved_model.pb").is_file()
    if not is_module and not (output.is_dir() and not any(output.iterdir())):
        raise HubError(f"{output} is no exported module, so --overwrite leaves it alone.")


def reference_cases(model) -> dict[str, np.ndarray]:
    """Waveforms and what the in-memory model makes of them, for `hub.conformance`.

    "fresh" outputs are those of the weights as they are, "awake" ones those with all branches
    awake (see `Encoder.awake`): branches that fresh weights silence would not show whether they
    survived. "frames" are those of the signature, if there is one.
    """
    random = np.random.default_rng(0)
    shapes = {**_CASES, "1x60s": (1, _LONG_SECONDS * model.sample_rate)}
    cases: dict[str, np.ndarray] = {
        f"waveform/{case}": random.uniform(-0.5, 0.5, shape).astype(np.float32)
        for case, shape in shapes.items()
    }
    cases["sample_rate"] = np.array(model.sample_rate)
    cases["is_stochastic"] = np.array(model.is_stochastic)
    cases["waveform/training"] = cases["waveform/2x16000"][:, :8000]
    for kind in ("variables", "trainable_variables"):
        cases[f"{kind}/shapes"] = np.array(_shapes(getattr(model, kind)), dtype=np.str_)
    for case in shapes:
        cases[f"fresh/{case}"] = np.asarray(model(cases[f"waveform/{case}"], training=False))
    if model.frame_hop is not None:
        for case in _AWAKE_CASES:
            _, frames = model.embedding_and_frames(cases[f"waveform/{case}"], training=False)
            cases[f"frames/{case}"] = np.asarray(frames)
    with model.awake() as changed:
        # For the check in a fresh process, which knows no encoder: the variables and their values.
        numbers = {id(variable): index for index, variable in enumerate(model.trainable_variables)}
        for variable in changed:
            cases[f"awake_variable/{numbers[id(variable)]}"] = np.asarray(variable)
        for case in _AWAKE_CASES if changed else ():
            cases[f"awake/{case}"] = np.asarray(model(cases[f"waveform/{case}"], training=False))
    return cases


def classifier_cases(classifier: Classifier, cases: dict) -> dict[str, np.ndarray]:
    """Returns the cases of a classifier: "fresh_logits", "awake_logits", "classes"."""
    head = _shapes(classifier.dense.variables)
    added = {
        "classes": np.array(classifier.classes, dtype=np.str_),
        "variables/shapes": np.array([*cases["variables/shapes"], *head], dtype=np.str_),
    }
    for name, embedding in cases.items():
        state, _, case = name.partition("/")
        if state in ("fresh", "awake"):
            added[f"{state}_logits/{case}"] = np.asarray(classifier.dense(embedding))
    return added


def _check_folding(model, precision: str) -> float:
    """Returns the deviation of the serving form, with all branches of the network awake.

    The weights of the exported module are folded, so a fresh process cannot wake its branches.

    Raises:
        HubError: more than `conformance.TOLERANCES` allow.
    """
    from hares_tf.hub.export import folding

    random = np.random.default_rng(1)
    waveforms = [
        random.uniform(-0.5, 0.5, _CASES[case]).astype(np.float32) for case in _AWAKE_CASES
    ]
    deviation = folding.deviation(model, precision, waveforms)
    if not deviation <= conformance.TOLERANCES[precision]:
        raise HubError(f"The {precision} serving form deviates by {deviation:.1e} from the model.")
    return deviation


def _shapes(variables) -> list[str]:
    return ["x".join(map(str, variable.value.shape)) for variable in variables]


def _conformance(directory: Path, cases: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-P", conformance.__file__, literal_path(directory), str(cases)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stdout.strip() or done.stderr.strip() or "no message").splitlines()[-1]
        raise HubError(f"The exported module fails its conformance check: {reason}.")
    return done.stdout.strip().splitlines()
