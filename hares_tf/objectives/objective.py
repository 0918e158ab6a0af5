"""The contract of a pretraining objective: all that the training step uses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hares_tf.models.draws import Draw


@dataclass(frozen=True)
class Inputs:
    """The inputs of a training step on one replica.

    Attributes:
        examples: what the encoder embeds, `[rows, ...]`, see `Encoder.embed`.
        labels: `[clips, classes]`; None for an objective without labels.
    """

    examples: object
    labels: object | None = None


@dataclass(frozen=True)
class Forward:
    """The trained functions of a step, as an objective may call them.

    Attributes:
        embed: `(examples, call=0) -> [rows, dim]` float32: the encoder in training, with the random
            numbers that were drawn for this step. An objective that calls it several times numbers
            the calls; each has draws of its own.
        head: the objective's own layer, see `Objective.create_head`.
        encoder: the encoder itself, for outputs other than the embedding.
        encoder_draws: for each call the tensors of the encoder's `training_draws`.
    """

    embed: Callable
    head: Callable
    encoder: object = None
    encoder_draws: tuple[Mapping, ...] = ()


@dataclass
class Losses:
    """The losses of a replica.

    Attributes:
        per_example: `[clips]` float32, the loss of each clip; training minimizes its mean over the
            global batch.
        metrics: name -> `[clips]` float32, averaged over the global batch for the log.
        scores: `[clips, classes]` float32 for a classifier, whose ranking of the clips is
            reported; else None.
    """

    per_example: object
    metrics: dict = field(default_factory=dict)
    scores: object | None = None


@dataclass(frozen=True)
class Gather:
    """Access to the examples of the other replicas.

    Attributes:
        all_examples: `[clips, ...]` of this replica -> `[global_batch, ...]` of all, with the
            gradient of every replica's use of it.
        offset: position of this replica's examples in the global batch.
    """

    all_examples: Callable
    offset: object


#: A single replica.
ALONE = Gather(all_examples=lambda x: x, offset=0)


class Objective:
    """Base class. One step on one replica, in this order:

    1. `draws` are evaluated as a pure function of the seed, the step and the replica, and so are
       the encoder's `training_draws`, once for each entry of `encoder_rows`;
    2. `inputs` makes the inputs of the encoder from the crops; nothing in it is trained;
    3. `losses` runs the encoder and the head;
    4. gradients are summed over the replicas, and the optimizer updates encoder and head;
    5. `after_update` updates the objective's own state.

    Attributes:
        crops: number of crops of each clip in a batch.
        needs_labels: whether clips must have labels.
        fewest_clips: the fewest clips in a global batch, and in all, that can be learned from.
        metric_names: keys of `Losses.metrics`.
        chunkable: whether `losses` depends on the encoder only through one call
            `forward.embed(inputs.examples)`. Gradient caching, which computes the embeddings in
            chunks, is then exact, provided that the encoder's examples are independent.
        state: the objective's own variables by name, which no optimizer updates (a momentum
            target, a queue of past inputs). They are part of checkpoints and are resumed bit for
            bit.
    """

    crops = 1
    needs_labels = False
    fewest_clips = 1
    metric_names: tuple[str, ...] = ()
    chunkable = True
    state: Mapping[str, object]

    def __init__(self):
        self.state = {}

    def create_head(self, classes: int, dtype=None):
        """Creates the Keras layer `[rows, dim] -> [rows, outputs]` that is trained on top.

        Args:
            classes: number of label names of the clips.
            dtype: a Keras policy; the outputs are float32 at least.
        """
        raise NotImplementedError

    def create_state(self, encoder, head) -> None:
        """Fills `state`; called once under the strategy's scope, with built encoder and head."""

    def draws(self) -> Mapping[str, Draw]:
        """The random numbers of a step by name, for the clips of a replica."""
        return {}

    def encoder_rows(self, clips: int) -> tuple[int, ...]:
        """The number of examples in each call of `forward.embed`."""
        return (self.crops * clips,)

    def inputs(self, encoder, waveforms, labels, draws: Mapping) -> Inputs:
        """Makes the inputs of the encoder.

        Args:
            encoder: a `hares_tf.models.Encoder`.
            waveforms: `[clips, crops, samples]` float32 in [-1, 1).
            labels: `[clips, classes]` float32; None for an objective without labels.
            draws: tensors by the names of `draws()`.
        """
        raise NotImplementedError

    def losses(self, forward: Forward, inputs: Inputs, gather: Gather) -> Losses:
        """Computes the loss of each clip of a replica."""
        raise NotImplementedError

    def after_update(self, encoder, head) -> None:
        """Updates `state` after the optimizer has updated encoder and head.

        Runs on every replica; a variable becomes the mean of the values that the replicas assign.
        """
