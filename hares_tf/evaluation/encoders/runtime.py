"""Runtimes: the library that computes the embeddings, and its precision."""

from dataclasses import dataclass, replace

import numpy as np

from hares_tf.evaluation.encoders.encoder import Encoder
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.hub.loader import LocatedModule
from hares_tf.runtimes.errors import ConversionError, RuntimesError

TENSORFLOW, OPENVINO, PYTHON = "tensorflow", "openvino", "python"
FLOAT32, BFLOAT16 = "float32", "bfloat16"
# Largest difference from TensorFlow's embeddings of noise and a tone, in their standard deviation,
# that counts as rounding. For noise, a network of fifty layers deviated by 1e-5 and 0.1.
LIMITS = {FLOAT32: 0.01, BFLOAT16: 0.3}


@dataclass(frozen=True)
class Runtime:
    """A runtime and its precision. Part of every store key.

    Attributes:
        name: "tensorflow", "openvino", or "python" for a function of any framework.
        precision: "float32", or "bfloat16" (OpenVINO only).

    Raises:
        EvaluationError: an unknown name or precision, or a precision that the runtime cannot set.
    """

    name: str = TENSORFLOW
    precision: str = FLOAT32

    def __post_init__(self):
        if self.name not in (TENSORFLOW, OPENVINO, PYTHON):
            raise EvaluationError(f"Unknown runtime {self.name!r}; use tensorflow or openvino.")
        if self.precision not in (FLOAT32, BFLOAT16):
            raise EvaluationError(
                f"Unknown precision {self.precision!r}; use {FLOAT32} or {BFLOAT16}."
            )
        if self.precision != FLOAT32 and self.name != OPENVINO:
            raise EvaluationError(
                f"--runtime_precision={self.precision} goes with --runtime=openvino. In TensorFlow "
                "a module computes as it was exported (hares-export --precision)."
            )

    def check_available(self) -> None:
        """Raises EvaluationError if the runtime is not installed; imports nothing large."""
        if self.name == OPENVINO:
            from hares_tf.runtimes.openvino import check_installed

            try:
                check_installed()
            except RuntimesError as error:
                raise EvaluationError(f"--runtime=openvino: {error}") from error

    def of(self, module: LocatedModule) -> "Runtime":
        """Returns the runtime of a module: a function runs as it is under every runtime."""
        return Runtime(PYTHON) if module.kind == "python" else self

    @classmethod
    def of_description(cls, description: dict) -> "Runtime":
        """Returns the runtime that a description of embeddings names (`EmbeddingStore.space`)."""
        return cls(
            description.get("runtime", TENSORFLOW),
            description.get("precision", FLOAT32),
        )

    def as_flags(self) -> dict:
        """Returns what sets results apart from those of TensorFlow in float32; {} for these."""
        if self.name != OPENVINO:
            return {}
        return {"runtime": self.name, "runtime_precision": self.precision}


DEFAULT = Runtime()


def in_openvino(encoder: Encoder, precision: str) -> Encoder:
    """Converts an encoder to OpenVINO, and compares the two on noise and a tone.

    Args:
        encoder: one that TensorFlow computes, with its `graph`.
        precision: see `Runtime`.

    Raises:
        ConversionError: OpenVINO cannot convert the graph, or its embeddings differ.
        EvaluationError: OpenVINO is not installed, or the processor lacks the precision.
    """
    from hares_tf.runtimes import openvino

    try:
        function = openvino.convert(encoder.graph, precision)
    except ConversionError:
        raise
    except RuntimesError as error:
        raise EvaluationError(f"--runtime=openvino: {error}") from error
    samples = encoder.sample_rate
    tone = np.sin(np.arange(samples) * (2 * np.pi * 440 / encoder.sample_rate))
    noise = np.random.default_rng(0).normal(0, 1, samples)
    batch = (0.1 * np.stack([noise, tone])).astype(np.float32)
    expected = encoder.embed(batch)
    deviation = float(np.abs(function(batch) - expected).max() / max(expected.std(), 1e-12))
    if not deviation <= LIMITS[precision]:
        raise ConversionError(
            f"OpenVINO's embeddings differ from TensorFlow's by {deviation:.2g} standard "
            f"deviations, more than rounding to {precision} does ({LIMITS[precision]})."
        )
    interface = {
        **encoder.interface,
        "openvino": openvino.version(),
        "deviation_from_tensorflow": float(f"{deviation:.2g}"),
    }
    return replace(encoder, function=function, interface=interface, graph=None)
