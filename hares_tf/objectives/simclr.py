"""SimCLR: two crops of a clip are to be recognized as such among many others."""

import keras
from keras import ops

from hares_tf.audio.precision import full_precision_policy
from hares_tf.objectives.errors import ObjectiveError
from hares_tf.objectives.mixing import MixingObjective
from hares_tf.objectives.nt_xent import nt_xent, unit_length
from hares_tf.objectives.objective import Losses


@keras.saving.register_keras_serializable(package="hares_tf")
class Projector(keras.layers.Layer):
    """Embedding `[batch, dim]` -> projection `[batch, size]` in float32; thrown away afterwards.

    Paper, Section 3: "a MLP with 3 hidden layers of size 4096". It leaves the size of the output,
    biases and normalization open: the output is 128 wide and without bias as in SimCLR's code, and
    nothing normalizes over the batch, because independence of the examples is what the paper finds
    to matter (Section 3.2).

    Args:
        hidden: width of the hidden layers, each followed by relu.
        layers: how many.
        size: width of the output.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, hidden=4096, layers=3, size=128, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.layers, self.size = hidden, layers, size
        self.dense = [
            keras.layers.Dense(
                hidden,
                activation="relu",
                kernel_initializer="he_normal",
                name=f"hidden{index}",
                dtype=self.dtype_policy,
            )
            for index in range(layers)
        ]
        self.output_dense = keras.layers.Dense(
            size, use_bias=False, name="projection", dtype=full_precision_policy(self.dtype_policy)
        )

    def build(self, input_shape):
        for dense in (*self.dense, self.output_dense):
            dense.build(input_shape)
            input_shape = dense.compute_output_shape(input_shape)

    def call(self, x):
        for dense in self.dense:
            x = dense(x)
        return self.output_dense(x)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.size)

    def get_config(self):
        return {
            **super().get_config(),
            "hidden": self.hidden,
            "layers": self.layers,
            "size": self.size,
        }


class SimCLR(MixingObjective):
    """NT-Xent over the global batch, in both directions.

    Args:
        temperature: paper, Appendix C: 0.1.
        hidden: of the projector, as are `layers` and `size`.
        layers: see `hidden`.
        size: see `hidden`.
        mixing: see `MixingObjective`.

    Raises:
        ObjectiveError: a size or the temperature is not positive.
    """

    crops = 2
    fewest_clips = 2  # the crops of a clip are told from those of other clips
    metric_names = ("contrastive_accuracy",)

    def __init__(self, temperature=0.1, hidden=4096, layers=3, size=128, mixing="log_mel"):
        super().__init__(mixing)
        for name, value in (("temperature", temperature), ("hidden", hidden), ("size", size)):
            if not value > 0:
                raise ObjectiveError(f"SimCLR: {name} must be positive, not {value!r}.")
        self.temperature = temperature
        self._projector = {"hidden": hidden, "layers": layers, "size": size}

    def create_head(self, classes, dtype=None):
        return Projector(**self._projector, dtype=dtype, name="projector")

    def losses(self, forward, inputs, gather):
        projections = ops.split(forward.head(forward.embed(inputs.examples)), 2)
        first, second = map(unit_length, projections)
        loss, accuracy = nt_xent(
            first,
            second,
            gather.all_examples(first),
            gather.all_examples(second),
            gather.offset,
            self.temperature,
        )
        return Losses(loss, {"contrastive_accuracy": accuracy})
