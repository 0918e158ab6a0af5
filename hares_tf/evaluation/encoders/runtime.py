"""What computes the embeddings, and how exactly: TensorFlow, or OpenVINO on a CPU."""

from dataclasses import dataclass, replace

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.runtimes.errors import ConversionError, RuntimesError

TENSORFLOW, OPENVINO, PYTHON = "tensorflow", "openvino", "python"
FLOAT32, BFLOAT16 = "float32", "bfloat16"
# Largest difference from TensorFlow's embeddings of noise and a tone, in their standard deviation,
# that is still rounding. For noise alone a network of fifty layers was seen at 1e-5 and 0.1.
LIMITS = {FLOAT32: 0.01, BFLOAT16: 0.3}


@dataclass(frozen=True)
class Runtime:
    """What computes embeddings. Part of every store key.

    Attributes:
        name: "tensorflow", "openvino", or "python" for a function of any framework.
        precision: "float32", or "bfloat16" (OpenVINO only).
    """

    name: str = TENSORFLOW
    precision: str = FLOAT32

    def __post_init__(self):
        if self.name not in (TENSORFLOW, OPENVINO, PYTHON):
            raise EvaluationError(f"unknown runtime {self.name!r}; use tensorflow or openvino")
        if self.precision not in (FLOAT32, BFLOAT16):
            raise EvaluationError(
                f"unknown precision {self.precision!r}; use {FLOAT32} or {BFLOAT16}"
            )
        if self.precision != FLOAT32 and self.name != OPENVINO:
            raise EvaluationError(
                f"--runtime_precision={self.precision} goes with --runtime=openvino; in TensorFlow "
                "a module computes as it was exported (hares-export --precision)"
            )

    def check_available(self) -> None:
        """Raises EvaluationError where the runtime is not installed; imports nothing large."""
        if self.name == OPENVINO:
            from hares_tf.runtimes.openvino import check_installed

            try:
                check_installed()
            except RuntimesError as error:
                raise EvaluationError(f"--runtime=openvino: {error}") from error

    def of(self, module) -> "Runtime":
        """The runtime for a `LocatedModule`: a function runs as it is, whatever was asked for."""
        return Runtime(PYTHON) if module.kind == "python" else self

    @classmethod
    def of_description(cls, description: dict) -> "Runtime":
        """The runtime that a description of embeddings names (see `EmbeddingStore.space`)."""
        return cls(
            description.get("runtime", TENSORFLOW),
            description.get("precision", FLOAT32),
        )

    def as_flags(self) -> dict:
        """What sets its results apart from those of TensorFlow in float32; {} for that."""
        if self.name != OPENVINO:
            return {}
        return {"runtime": self.name, "runtime_precision": self.precision}


DEFAULT = Runtime()


def in_openvino(encoder, precision: str):
    """An `Encoder` that TensorFlow computes, taken over by OpenVINO and compared with itself.

    Args:
        encoder: with its `graph`.
        precision: see `Runtime`.

    Raises:
        ConversionError: OpenVINO does not take the graph, or computes something else.
        EvaluationError: this machine cannot do it at all.
    """
    from hares_tf.runtimes import openvino

    try:
        embed = openvino.convert(encoder.graph, precision)
    except ConversionError:
        raise
    except RuntimesError as error:
        raise EvaluationError(f"--runtime=openvino: {error}") from error
    samples = encoder.sample_rate
    tone = np.sin(np.arange(samples) * (2 * np.pi * 440 / encoder.sample_rate))
    noise = np.random.default_rng(0).normal(0, 1, samples)
    batch = (0.1 * np.stack([noise, tone])).astype(np.float32)
    wanted = encoder.embed(batch)
    deviation = float(np.abs(embed(batch) - wanted).max() / max(wanted.std(), 1e-12))
    if not deviation <= LIMITS[precision]:
        raise ConversionError(
            f"OpenVINO's embeddings differ from TensorFlow's by {deviation:.2g} standard "
            f"deviations, more than rounding to {precision} does ({LIMITS[precision]})"
        )
    interface = {
        **encoder.interface,
        "openvino": openvino.version(),
        "deviation_from_tensorflow": float(f"{deviation:.2g}"),
    }
    return replace(encoder, embed=embed, interface=interface, graph=None)
