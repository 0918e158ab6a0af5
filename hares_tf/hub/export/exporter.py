"""Weights -> Hub module: write it under a temporary name, check it, rename it."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
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
    say: Callable[[str], None] = lambda line: None,
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
        say: called with each of these lines as soon as its check is done.

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
    with (
        _fresh_process(say) as conformance_of,
        tempfile.TemporaryDirectory() as scratch,
        atomic_directory(output, overwrite) as temporary,
    ):
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
        checks = conformance_of(temporary, cases_file)
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


@contextlib.contextmanager
def _fresh_process(say: Callable[[str], None]) -> Iterator[Callable[[Path, Path], list[str]]]:
    """Starts a process for the conformance check; yields a function that runs the check in it."""
    process = subprocess.Popen(
        [sys.executable, "-P", conformance.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    to, out, err = process.stdin, process.stdout, process.stderr
    assert to is not None and out is not None and err is not None
    # Read meanwhile: a full pipe would stop the process.
    errors: list[str] = []
    reader = threading.Thread(target=errors.extend, args=(err,), daemon=True)
    reader.start()

    def check(directory: Path, cases: Path) -> list[str]:
        with contextlib.suppress(BrokenPipeError):  # it has ended: the exit code says so
            to.write(json.dumps([literal_path(directory), str(cases)]) + "\n")
            to.flush()
        lines: list[str] = []
        for line in out:
            if lines:
                say(lines[-1])
            lines.append(line.strip())
        code = process.wait()
        reader.join()
        if code != 0:
            cause = (lines or [line.strip() for line in errors if line.strip()])[-1:]
            raise HubError(
                "The exported module fails its conformance check: "
                f"{(cause or ['no message'])[0].rstrip('.')}."
            )
        if lines:
            say(lines[-1])
        return lines

    try:
        yield check
    finally:
        process.kill()
        process.wait()
        for stream in (to, out):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
