"""The training step as the program of one core of a TPU, without a TPU.

TensorFlow lowers the step to StableHLO, the language that the compilers of accelerators take. What
a TPU cannot run is refused here, in seconds; `make tpu-check` hands the same program to the TPU's
own compiler.

The step is lowered with the kernels of the CPU, since plain TensorFlow has none for TPUs. They
refuse the same operations and write down no custom calls of their own for what is used here.
"""

import re

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

from hares_tf.layers.grouped_convolution import for_an_accelerator
from hares_tf.pretrain.errors import PretrainError
from hares_tf.pretrain.learner import Learner
from hares_tf.pretrain.step import training_step
from hares_tf.utils.errors import reason

# Programs in which shapes are known only when they run. Where TensorFlow knows a limit, the type
# says so: tensor<?x3xf32, #stablehlo.bounds<4, ?>>. (`dynamic_slice` is not among them: of fixed
# size at a place that is computed.)
_DYNAMIC_TYPE = re.compile(r"tensor<(?=[^>]*(?:\?|bounds))(?:[^<>]|<[^<>]*>)*>")
# Operations that need the host, or a library that only some devices have.
_FOREIGN = re.compile(r"\b(?:stablehlo|mhlo)\.(custom_call|infeed|outfeed|send|recv)\b")
_CUSTOM_TARGET = re.compile(r"custom_call\s*@([\w.$]+)")


class ProgramContext:
    """A replica context for a program that runs on `replicas` cores.

    Args:
        replicas: how many cores run the program together.
    """

    def __init__(self, replicas: int):
        self.num_replicas_in_sync = replicas

    @property
    def replica_id_in_sync_group(self):
        """The core's number: int32, known when the program runs."""
        return gen_xla_ops.xla_replica_id()

    def all_reduce(self, op, values):
        """Sum over the cores, with the sum as its gradient, as under a strategy."""
        if op != tf.distribute.ReduceOp.SUM:
            raise ValueError(f"the step sums; {op} is not lowered")
        return tf.nest.map_structure(self._sum, values)

    def _sum(self, value):
        group = [list(range(self.num_replicas_in_sync))]

        @tf.custom_gradient
        def summed(x):
            y = gen_xla_ops.xla_all_reduce(x, group, reduce_op="Add", mode="CrossReplica")
            return y, self._sum

        return summed(tf.convert_to_tensor(value))


def lower(function, *specs) -> str:
    """A function as StableHLO text, checked to be what a TPU can run.

    Args:
        function: of tensors; variables that it uses become arguments of the program.
        *specs: `tf.TensorSpec` of its arguments, of fixed shape.

    Returns:
        The text of the module.

    Raises:
        PretrainError: an operation cannot be compiled, a shape is not fixed, or the program asks
            for the host or for a library.
    """
    compiled = tf.function(function, jit_compile=True, autograph=False)
    try:
        text = compiled.experimental_get_compiler_ir(*specs)(stage="stablehlo")
    except (tf.errors.OpError, ValueError, TypeError) as error:
        raise PretrainError(
            f"The step cannot be compiled for a TPU: {reason(error, 500)}."
        ) from error
    if found := obstacles(text):
        raise PretrainError(f"The step cannot be compiled for a TPU: {'; '.join(found)}.")
    return text


def obstacles(text: str) -> list[str]:
    """Returns the parts of a StableHLO module that a TPU cannot run, or only slowly.

    Args:
        text: of the module.
    """
    found = [f"shape known only at run time: {t}" for t in _unique(_DYNAMIC_TYPE.findall(text))]
    found += [f"operation {name}" for name in _unique(_FOREIGN.findall(text))]
    found += [f"library function {name}" for name in _unique(_CUSTOM_TARGET.findall(text))]
    return found


def _unique(items, limit=3):
    return list(dict.fromkeys(items))[:limit]


def step_stablehlo(learner: Learner, config, clips_per_replica: int, replicas: int) -> str:
    """The whole training step of one replica: crops in, parameters updated.

    Args:
        learner: what is trained, made outside of any strategy.
        config: its resolved configuration; `crops`, `seed` and `chunk` are used.
        clips_per_replica: clips of one core.
        replicas: cores, 1 or more.

    Returns:
        The text of a StableHLO module. Its arguments are int16 crops `[clips, crops, samples]`,
        labels where the objective needs them, the step's number, and all variables.

    Raises:
        PretrainError: see `lower`.
    """
    samples = round(config.crops.seconds * learner.encoder.sample_rate)
    crops = learner.objective.crops
    batch = {"audio": tf.TensorSpec([clips_per_replica, crops, samples], tf.int16)}
    if learner.objective.needs_labels:
        classes = learner.head.compute_output_shape((1, 1))[-1]
        batch["labels"] = tf.TensorSpec([clips_per_replica, classes], tf.float32)
    context = ProgramContext(replicas)

    def step(number, *parts):
        return training_step(
            learner,
            dict(zip(batch, parts, strict=True)),
            number,
            seed=config.seed,
            chunk=config.chunk,
            context=context,
        )

    with for_an_accelerator():
        return lower(step, tf.TensorSpec([], tf.int32), *batch.values())
