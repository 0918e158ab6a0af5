"""Label spaces: what a clip may be called, and the numbers that heads and metrics work with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hares_tf.evaluation.errors import EvaluationError

KINDS = ("classes", "slots", "tags")


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
        """One of several names."""
        return cls("classes", (("class", tuple(names)),))

    @classmethod
    def tags(cls, names: Iterable[str]) -> "Labels":
        """Any number of names."""
        return cls("tags", (("tag", tuple(names)),))

    @classmethod
    def slots(cls, slots: Mapping[str, Iterable[str]]) -> "Labels":
        """One name of each slot."""
        return cls("slots", tuple((slot, tuple(names)) for slot, names in slots.items()))

    def __post_init__(self):
        for group, names in self.groups:
            if len(set(names)) != len(names):
                raise EvaluationError(f"The labels of {group!r} are not distinct.")

    @property
    def names(self) -> tuple[str, ...]:
        """One name per logit; names of slots are written "slot=name"."""
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

    def targets(self, labels: Sequence) -> np.ndarray:
        """Numbers for the labels of clips.

        Args:
            labels: a text per clip (classes), or a tuple of texts: one of each slot in order, or
                the tags that hold.

        Returns:
            int32 `[clips, groups]`, the number of the name within its group; for tags float32
            `[clips, tags]` of 0 and 1 (mixed clips have values between).

        Raises:
            EvaluationError: a label that is not in the space.
        """
        if self.kind == "tags":
            place = {name: index for index, name in enumerate(self.groups[0][1])}
            targets = np.zeros((len(labels), self.width), np.float32)
            for row, tags in enumerate(labels):
                for tag in tags:
                    targets[row, self._number(place, tag)] = 1
            return targets
        places = [{name: i for i, name in enumerate(names)} for _, names in self.groups]
        targets = np.empty((len(labels), len(places)), np.int32)
        for row, label in enumerate(labels):
            values = (label,) if self.kind == "classes" else label
            for column, (place, value) in enumerate(zip(places, values, strict=True)):
                targets[row, column] = self._number(place, value)
        return targets

    def _number(self, place: dict[str, int], name: str) -> int:
        if name not in place:
            raise EvaluationError(f"The label {name!r} is none of the task's {len(place)} labels.")
        return place[name]

    def as_data(self) -> dict:
        """JSON data: the kind and, by group, the names."""
        return {"kind": self.kind, "groups": {group: list(names) for group, names in self.groups}}
