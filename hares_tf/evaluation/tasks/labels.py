"""Label spaces: what a clip may be called, and the numbers that heads and metrics work with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hares_tf.evaluation.errors import EvaluationError

KINDS = ("classes", "slots", "tags")
_SHOWN = 20
# The label of a clip: its class; for slots one name of each in order, for tags those that hold.
Label = str | tuple[str, ...]


@dataclass(frozen=True)
class Labels:
    """The names that the labels of a task may take; build it with one of the class methods.

    Every kind is a list of groups of logits. `classes` has one group, of which exactly one name
    holds; `slots` has several such groups, and a clip carries one name of each; `tags` has one
    group, of which any number of names may hold.

    Attributes:
        kind: "classes", "slots" or "tags".
        groups: (name of the group, names in it), in the order of the logits.
    """

    kind: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def classes(cls, names: Iterable[str]) -> "Labels":
        """Labels of which each clip has one."""
        return cls("classes", (("class", tuple(names)),))

    @classmethod
    def tags(cls, names: Iterable[str]) -> "Labels":
        """Labels of which each clip has any number."""
        return cls("tags", (("tag", tuple(names)),))

    @classmethod
    def slots(cls, slots: Mapping[str, Iterable[str]]) -> "Labels":
        """Labels of which each clip has one per slot."""
        return cls("slots", tuple((slot, tuple(names)) for slot, names in slots.items()))

    def __post_init__(self):
        for group, names in self.groups:
            if len(set(names)) != len(names):
                raise EvaluationError(f"The labels of {group!r} are not distinct.")

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the name of each logit; names of slots are written "slot=name"."""
        if self.kind == "slots":
            return tuple(f"{group}={name}" for group, names in self.groups for name in names)
        return self.groups[0][1]

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of logits of each group."""
        return tuple(len(names) for _, names in self.groups)

    @property
    def width(self) -> int:
        """Number of logits."""
        return sum(self.widths)

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The logits of each group."""
        stops = np.cumsum(self.widths).tolist()
        return tuple(
            slice(stop - width, stop) for stop, width in zip(stops, self.widths, strict=True)
        )

    @cached_property
    def _places(self) -> tuple[dict[str, int], ...]:
        """Returns the number of every name within its group, by group."""
        return tuple({name: i for i, name in enumerate(names)} for _, names in self.groups)

    def numbers(self, label: Label) -> list[int]:
        """Returns the number of each name of a label within its group.

        Raises:
            EvaluationError: a name that is not in the space.
        """
        names = (label,) if isinstance(label, str) else label
        places = self._places * len(names) if self.kind == "tags" else self._places
        for name, place in zip(names, places, strict=True):
            if name not in place:
                some = ", ".join(list(place)[:_SHOWN]) + ", ..." * (len(place) > _SHOWN)
                raise EvaluationError(
                    f"The label {name!r} is none of the task's {len(place)} labels ({some})."
                )
        return [place[name] for name, place in zip(names, places, strict=True)]

    def targets(self, labels: Sequence[Label]) -> np.ndarray:
        """Returns the labels of clips as numbers.

        Args:
            labels: one per clip.

        Returns:
            int32 `[clips, groups]`, the number of the name within its group; for tags float32
            `[clips, tags]` of 0 and 1 (mixed clips have values between).

        Raises:
            EvaluationError: a label that is not in the space.
        """
        if self.kind == "tags":
            targets = np.zeros((len(labels), self.width), np.float32)
            for row, label in enumerate(labels):
                targets[row, self.numbers(label)] = 1
            return targets
        numbers = np.empty((len(labels), len(self.groups)), np.int32)
        for row, label in enumerate(labels):
            numbers[row] = self.numbers(label)
        return numbers

    def indices(self, label: Label) -> tuple[int, ...]:
        """Returns the indices in `names` of a label's names, as `Recording.labels` has them."""
        starts = [0] * len(label) if self.kind == "tags" else [b.start for b in self.blocks]
        return tuple(
            sorted({start + n for start, n in zip(starts, self.numbers(label), strict=True)})
        )

    def as_data(self) -> dict:
        """JSON data: the kind and, by group, the names."""
        return {"kind": self.kind, "groups": {group: list(names) for group, names in self.groups}}
