"""A loaded module as a function in a graph: what can be differentiated, and exported again.

`hares_tf.evaluation` finds out how a module wants to be called, and calls it for NumPy arrays. Here
the same interface is called with tensors, in training or inference mode.
"""

import numpy as np
import tensorflow as tf

from hares_tf.audio.normalization import normalized
from hares_tf.evaluation.encoders.probe import fitted
from hares_tf.finetune.errors import FinetuneError

# What two ways to the same embedding may differ by, relative to the largest value.
_TOLERANCE = 1e-4


class TrainableEncoder:
    """Waveform `[batch, samples]` float32, training -> embedding `[batch, dim]` float32.

    Args:
        handle: for messages.
        loaded: what `hub.loader.load` gave; kept alive, since its functions hold its variables
            weakly.
        interface: what `evaluation.probe` found of it.

    Attributes:
        size: of the embedding.
        has_training_mode: whether the module takes `training`.
        trainable_variables, variables: the module's own lists.
        regularization_losses: functions of no argument.

    Raises:
        FinetuneError: none of the ways to call the module can be traced.
    """

    def __init__(self, handle: str, loaded, interface: dict):
        self.loaded = loaded
        self.size = int(interface["embedding_size"])
        self._interface = interface
        self._function = _entry(loaded, interface["entry_point"])
        self._arguments, self._one_by_one, self.has_training_mode = self._find_call(handle)
        self.trainable_variables = _listed(loaded, "trainable_variables")
        self.variables = _union(_listed(loaded, "variables"), self.trainable_variables)
        self.regularization_losses = list(getattr(loaded, "regularization_losses", None) or [])

    def __call__(self, waveform, training: bool):
        pieces = normalized(
            fitted(waveform, self._interface["window_samples"]),
            self._interface["normalise"],
            tf.experimental.numpy,
        )
        if self._one_by_one:
            embeddings = tf.map_fn(
                lambda piece: self._pooled(self._call(piece[tf.newaxis], training))[0],
                pieces,
                fn_output_signature=tf.TensorSpec([self.size], tf.float32),
            )
        else:
            embeddings = self._pooled(self._call(pieces, training))
        per_waveform = tf.reshape(embeddings, [tf.shape(waveform)[0], -1, self.size])
        return tf.reduce_mean(per_waveform, axis=1)

    def check_against(self, embed, waveforms: np.ndarray) -> None:
        """Raises FinetuneError unless embeddings equal those of the evaluation's adapter."""
        found, wanted = self(tf.constant(waveforms), training=False).numpy(), embed(waveforms)
        deviation = np.max(np.abs(found - wanted)) / max(1.0, float(np.max(np.abs(wanted))))
        if not deviation <= _TOLERANCE:
            raise FinetuneError(
                f"the module gives embeddings that differ by {deviation:.1e} between two calls on "
                "the same sound, so it cannot be fine-tuned; look at it with hares-check-handle"
            )

    def _find_call(self, handle: str) -> tuple[dict, bool, bool]:
        """Which arguments the module takes beside the waveform, and whether batches."""
        rate = self._interface["sample_rate"]
        length = self._interface["window_samples"] or rate
        complaint = ""
        for one_by_one in (True,) if self._interface["input_rank"] == 1 else (False, True):
            silence = tf.zeros([1 if one_by_one else 2, length])
            for has_mode in (True, False):
                for arguments in ({}, {"sample_rate": rate}):
                    self._arguments, self.has_training_mode = arguments, has_mode
                    try:
                        self._pooled(self._call(silence, training=False))
                        # Traced only: a call would move averages and other state of training.
                        _trace(lambda clips: self._pooled(self._call(clips, True)), silence)
                    except Exception as error:  # a foreign module may raise anything
                        complaint = (str(error).strip() or repr(error)).splitlines()[0][:200]
                    else:
                        return arguments, one_by_one, has_mode
        raise FinetuneError(f"{handle} cannot be called in a graph: {complaint}")

    def _call(self, pieces, training: bool):
        """The module's output for `[pieces, samples]` (of one piece, where it takes one)."""
        rank = self._interface["input_rank"]
        waveform = {1: lambda: pieces[0], 2: lambda: pieces}.get(rank, lambda: pieces[..., None])()
        arguments = dict(self._arguments)
        if self.has_training_mode:
            arguments["training"] = training
        keywords = getattr(self._function, "structured_input_signature", None)
        if keywords is None:
            return self._function(waveform, **arguments)
        # A signature takes everything by name.
        rates = {k: s for k, s in keywords[1].items() if k == "sample_rate"}
        name = next(key for key in keywords[1] if key not in rates)
        arguments |= {
            key: tf.constant(self._interface["sample_rate"], spec.dtype)
            for key, spec in rates.items()
        }
        return self._function(**{name: waveform}, **arguments)

    def _pooled(self, output):
        """`[pieces, dim]` of what the module gave."""
        if self._interface["output_key"] is not None:
            output = output[self._interface["output_key"]]
        output = tf.cast(output, tf.float32)
        if self._interface["input_rank"] == 1:
            output = output[tf.newaxis]
        if self._interface["pool"]:
            reduce = tf.reduce_mean if self._interface["pool"] == "mean" else tf.reduce_max
            output = reduce(tf.reshape(output, [tf.shape(output)[0], -1, self.size]), axis=1)
        return output


def _trace(function, inputs) -> None:
    tf.function(function, autograph=False).get_concrete_function(inputs)


def _entry(loaded, name: str):
    """What is called: the object, one of its functions, or a signature (in that order)."""
    if name == "__call__":
        return loaded
    function = getattr(loaded, name, None)
    return function if hasattr(function, "concrete_functions") else loaded.signatures[name]


def _listed(loaded, name: str) -> list[tf.Variable]:
    return [v for v in getattr(loaded, name, None) or [] if isinstance(v, tf.Variable)]


def _union(*lists: list[tf.Variable]) -> list[tf.Variable]:
    return list({id(variable): variable for some in lists for variable in some}.values())
