"""The classifier that a module brings with it: one dense layer, and the names of its classes."""

import csv
import io
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Classifier:
    """A dense classifier on the embedding.

    Attributes:
        dense: a built Keras layer, embedding `[batch, dim]` -> logits `[batch, classes]`, float32.
        classes: names, in the order of the logits.
    """

    dense: Any
    classes: tuple[str, ...]

    def class_map(self) -> str:
        """The names as CSV."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("index", "display_name"))
        writer.writerows(enumerate(self.classes))
        return table.getvalue()
