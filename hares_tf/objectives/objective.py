"""What all objectives have in common."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Losses:
    """What an objective makes of the outputs of a replica.

    Attributes:
        per_example: `[batch]` float32 loss of each clip; training minimises its mean over the
            global batch.
        metrics: name -> `[batch]` float32, averaged over the global batch for the log.
        scores: `[batch, classes]` float32 for a classifier, whose ranking of the clips is
            reported; else None.
    """

    per_example: object
    metrics: dict = field(default_factory=dict)
    scores: object | None = None


@dataclass(frozen=True)
class Gather:
    """How a replica sees the others.

    Attributes:
        all_examples: `[batch, ...]` of this replica -> `[global_batch, ...]` of all, with the
            gradient of everybody's use of it.
        offset: where this replica's examples stand in the global batch.
    """

    all_examples: Callable
    offset: object


#: One replica alone.
ALONE = Gather(all_examples=lambda x: x, offset=0)


class Objective:
    """Base class: a head on the embedding, and a loss of the head's outputs.

    Attributes:
        views: how many crops of each clip an example consists of.
        needs_labels: whether clips must have labels.
        metric_names: keys of `Losses.metrics`.
    """

    views = 1
    needs_labels = False
    metric_names = ()

    def create_head(self, classes, dtype=None):
        """The Keras layer `[batch, embedding] -> [batch, outputs]` that is trained on top.

        Args:
            classes: how many labels there are.
            dtype: a Keras policy; the outputs are float32 at least.
        """
        raise NotImplementedError

    def losses(self, outputs, labels, gather) -> Losses:
        """The loss of each clip of a replica.

        Args:
            outputs: `[views, batch, outputs]` float32, of the head.
            labels: `[batch, classes]`, mixed like the examples; None without labels.
            gather: `Gather`.
        """
        raise NotImplementedError
