"""The loop of Adam over the steps of training, compiled: several heads at once."""

from dataclasses import dataclass

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.heads.sampling import ALIGNMENT
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.utils.tensorflow import import_tensorflow

# Kingma and Ba, "Adam", section 2; also the defaults of optax.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class AdamConfig:
    """Settings of the training of heads; by default those of the paper's linear tasks (Appendix A).

    Attributes:
        steps: AudioSet 200k, MagnaTagATune 20k, all others 400k.
        batch: clips per step; AudioSet and MagnaTagATune 128, all others 64.
        warm_up: steps in which the learning rate rises from 0 to its peak.
        hidden: units of the hidden ReLU layer; 0 for a linear head. AudioSet 512.
        seeds: of the initial weights, one per head.
        peak_learning_rate: of all heads.
        l2: weight of |W|^2 in the loss, one per head; biases are free. The paper has none.

    Raises:
        EvaluationError: a value that cannot be.
    """

    steps: int = 400_000
    batch: int = 64
    warm_up: int = 5000
    hidden: int = 0
    seeds: tuple[int, ...] = (0,)
    peak_learning_rate: float = 2e-4
    l2: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        if not 0 <= self.warm_up < self.steps or self.batch < 1 or self.hidden < 0:
            raise EvaluationError(
                f"{self.steps} steps of {self.batch} clips with {self.warm_up} steps of warm-up "
                f"and {self.hidden} hidden units are not possible: warm-up must end before the "
                "last step, and no count may be negative."
            )
        if not len(self.seeds) == len(self.l2) > 0:
            raise EvaluationError(
                f"{len(self.seeds)} seeds and {len(self.l2)} L2 strengths: give one of each per "
                "head."
            )
        if self.peak_learning_rate <= 0 or min(self.l2) < 0 or min(self.seeds) < 0:
            raise EvaluationError(
                "The learning rate must be above 0, L2 strengths and seeds not below 0."
            )


def learning_rates(config: AdamConfig, first_step: int, n_steps: int) -> np.ndarray:
    """The schedule relative to its peak: linear from 0 to 1, then a cosine to 0 at the last step.

    Step k (counted from 0, as optax does) has k / warm_up, so the very first changes nothing.

    Returns:
        float64 `[n_steps]` between 0 and 1.
    """
    # The same function as utils.schedules.warmup_schedule, for all steps of a chunk at once. Keras'
    # schedule takes one step per call (0.5 ms, as long as a small step of training) in float32,
    # which moves rates by up to 1e-7 of the peak, and so the weights of published scores.
    step = np.arange(first_step, first_step + n_steps, dtype=np.float64)
    progress = (step - config.warm_up) / (config.steps - config.warm_up)
    cosine = (1 + np.cos(np.pi * np.clip(progress, 0, 1))) / 2
    return np.where(step < config.warm_up, step / max(1, config.warm_up), cosine)


def initial_parameters(width: int, dim: int, config: AdamConfig) -> dict[str, np.ndarray]:
    """Draws initial parameters as Haiku's and Sonnet's Linear do.

    Weights come from a normal distribution of deviation 1 / sqrt(inputs), cut off at two
    deviations; biases are zero. Every head has a random stream of its own, by its seed.

    Returns:
        float32 arrays, named and shaped as those of `AdamHeads`.
    """
    from scipy.special import ndtr, ndtri

    def weights(layer: int, inputs: int, outputs: int) -> np.ndarray:
        drawn = np.empty((len(config.seeds), inputs, outputs), np.float32)
        for head, seed in enumerate(config.seeds):
            random = np.random.default_rng([seed, layer])
            uniform = random.uniform(ndtr(-2), ndtr(2), (inputs, outputs))
            drawn[head] = ndtri(uniform) / np.sqrt(inputs)
        return drawn

    heads = len(config.seeds)
    parameters = {
        "weights": weights(0, config.hidden or dim, width),
        "bias": np.zeros((heads, width), np.float32),
    }
    if config.hidden:
        parameters["hidden_weights"] = weights(1, dim, config.hidden)
        parameters["hidden_bias"] = np.zeros((heads, config.hidden), np.float32)
    return parameters


class AdamLoop:
    """The heads' variables and the compiled loop over the steps of a chunk.

    The first layers of all heads form one matrix `[dim, heads * outputs]`, so that a step takes a
    single matrix product.
    """

    def __init__(self, labels: Labels, dim: int, config: AdamConfig):
        tf = import_tensorflow()

        self._labels, self._config, self._heads = labels, config, len(config.seeds)
        self._first = ("hidden_weights", "hidden_bias") if config.hidden else ("weights", "bias")
        # By name, to be broadcast over the variable; without L2 the operation is left out.
        self._decays: dict[str, np.ndarray] = {}
        self._variables: dict[str, list] = {}
        for name, values in initial_parameters(labels.width, dim, config).items():
            value = self._stacked(name, values)
            if np.any(config.l2) and name.endswith("weights"):
                self._decays[name] = 2 * self._per_head(name, values, np.array(config.l2))
            starts = (value, np.zeros_like(value), np.zeros_like(value))
            self._variables[name] = [tf.Variable(start, trainable=False) for start in starts]
        soft = labels.kind == "tags"
        columns = labels.width if soft else len(labels.groups)
        self._target_type = np.float32 if soft else np.int32
        self._steps = tf.function(
            self._run,
            input_signature=[
                tf.TensorSpec([None, config.batch, dim]),
                tf.TensorSpec([None, config.batch, columns], self._target_type),
                tf.TensorSpec([None]),
                tf.TensorSpec([None]),
            ],
        )

    def run(self, first_step: int, embeddings: np.ndarray, targets: np.ndarray) -> None:
        """Trains on the batches `[n, batch, ...]` of n steps."""
        rates = self._config.peak_learning_rate * learning_rates(
            self._config, first_step, len(embeddings)
        )
        # Both moments start from zero; what that lacks is made up for in the learning rate and
        # epsilon (end of section 2 of Kingma and Ba). In float64: float32 has 1 - 0.999 to 1e-5.
        count = first_step + 1 + np.arange(len(embeddings), dtype=np.float64)
        root = np.sqrt(1 - BETA_2**count)
        self._steps(
            _tensor(np.asarray(embeddings, np.float32)),
            _tensor(np.asarray(targets, self._target_type)),
            (rates * root / (1 - BETA_1**count)).astype(np.float32),
            (EPSILON * root).astype(np.float32),
        )

    def is_finite(self) -> bool:
        """Whether the biases of the logits are numbers; whatever is not reaches them at once."""
        return bool(np.isfinite(self._variables["bias"][0].numpy()).all())

    def parameters(self) -> dict[str, np.ndarray]:
        """Returns the parameters in the form of `AdamHeads`."""
        result = {}
        for name, (variable, *_) in self._variables.items():
            value = variable.numpy()
            if name in self._first:
                value = np.moveaxis(value.reshape(*value.shape[:-1], self._heads, -1), -2, 0)
            result[name] = np.ascontiguousarray(value)
        return result

    def state(self) -> dict[str, np.ndarray]:
        """Values and moments as they are in the loop."""
        return {
            f"{name}/{number}": variable.numpy()
            for name, variables in self._variables.items()
            for number, variable in enumerate(variables)
        }

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes what `state` gave."""
        for name, variables in self._variables.items():
            for number, variable in enumerate(variables):
                variable.assign(state[f"{name}/{number}"])

    def _stacked(self, name: str, values: np.ndarray) -> np.ndarray:
        """`[heads, ..., outputs]` -> `[..., heads * outputs]` in the first layer."""
        if name not in self._first:
            return values
        return np.moveaxis(values, 0, -2).reshape(*values.shape[1:-1], -1)

    def _per_head(self, name: str, values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Returns one number per head, in a shape that broadcasts over `values` `[heads, ...]`."""
        numbers = numbers.astype(np.float32)
        if name in self._first:
            return np.repeat(numbers, values.shape[-1])
        return numbers.reshape(-1, *[1] * (values.ndim - 1))

    def _run(self, embeddings, targets, rates, epsilons):
        import tensorflow as tf

        count = tf.shape(embeddings)[0]

        def step(i):
            for name, gradient in self._gradients(embeddings[i], targets[i]).items():
                value, first, second = self._variables[name]
                if name in self._decays:
                    gradient += self._decays[name] * value
                # With powers of beta that are 0 it makes no corrections of its own.
                tf.raw_ops.ResourceApplyAdam(
                    var=value.handle,
                    m=first.handle,
                    v=second.handle,
                    beta1_power=0.0,
                    beta2_power=0.0,
                    lr=rates[i],
                    beta1=BETA_1,
                    beta2=BETA_2,
                    epsilon=epsilons[i],
                    grad=gradient,
                )
            return (i + 1,)

        # Compiled by XLA (and with Adam written out) it was slower: 8% at width 50, 31% at 1,251.
        tf.while_loop(lambda i: i < count, step, (tf.constant(0),), parallel_iterations=1)

    def _gradients(self, x, targets) -> dict:
        """Derivatives of the sum of the heads' losses by their own (undivided) parameters."""
        import tensorflow as tf

        weights, bias = (self._variables[name][0] for name in self._first)
        outputs = tf.matmul(x, weights) + bias
        by_head = tf.reshape(outputs, [self._config.batch, self._heads, -1])
        if self._config.hidden:
            by_outputs, gradients = self._second_layer(by_head, targets)
        else:
            by_outputs, gradients = self._loss_gradient(by_head, targets), {}
        by_outputs = tf.reshape(by_outputs, tf.shape(outputs))
        gradients[self._first[0]] = tf.matmul(x, by_outputs, transpose_a=True)
        gradients[self._first[1]] = tf.reduce_sum(by_outputs, axis=0)
        return gradients

    def _second_layer(self, inputs, targets) -> tuple:
        """Returns derivatives by the ReLU's inputs, `[batch, heads, hidden]`, and by parameters."""
        import tensorflow as tf

        hidden = tf.nn.relu(inputs)
        weights, bias = (self._variables[name][0].read_value() for name in ("weights", "bias"))
        logits = tf.einsum("bhn,hnw->bhw", hidden, weights) + bias
        by_logits = self._loss_gradient(logits, targets)
        by_hidden = tf.einsum("bhw,hnw->bhn", by_logits, weights)
        return tf.raw_ops.ReluGrad(gradients=by_hidden, features=hidden), {
            "weights": tf.einsum("bhn,bhw->hnw", hidden, by_logits),
            "bias": tf.reduce_sum(by_logits, axis=0),
        }

    def _loss_gradient(self, logits, targets):
        """Returns derivatives by the logits, `[batch, heads, width]`."""
        import tensorflow as tf

        batch, heads = self._config.batch, self._heads
        if self._labels.kind == "tags":
            return (tf.sigmoid(logits) - targets[:, tf.newaxis]) / batch
        parts = []
        for group, block in enumerate(self._labels.blocks):
            width = block.stop - block.start
            softmax = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(
                features=tf.reshape(logits[:, :, block], [batch * heads, width]),
                labels=tf.repeat(targets[:, group], heads),
            )
            parts.append(tf.reshape(softmax.backprop, [batch, heads, width]))
        return tf.concat(parts, axis=2) / batch


def _tensor(array: np.ndarray):
    """A tensor of an array that nobody writes to any more; without a copy where it is aligned."""
    import tensorflow as tf

    if array.ctypes.data % ALIGNMENT or not (array.flags.c_contiguous and array.flags.writeable):
        return tf.convert_to_tensor(array)
    # At a thousand small steps a second, copying every batch would take a tenth of the time.
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
