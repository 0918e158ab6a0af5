"""Listings: what the tables of a data set say of its recordings, and the manifest it makes."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import SPLITS, Clip, Dataset, Manifest
from hares_tf.evaluation.tasks.labels import Label, Labels
from hares_tf.recordings.sound import Sound
from hares_tf.recordings.tables import read_lines, read_table


class Listing:
    """The recordings that the tables of a data set list, each once, in their order.

    Args:
        labels: the label space; None if the labels are not known beforehand.
        parts: the names of the splits or folds.

    Attributes:
        labels: by id the label.
        parts: by id the split or fold, of those recordings that have one.
    """

    def __init__(self, labels: Labels | None = None, parts: tuple[str, ...] = SPLITS):
        self.labels: dict[str, Label] = {}
        self.parts: dict[str, str] = {}
        self._space, self._parts = labels, parts
        self._where: dict[str, str] = {}

    def add(self, where: str, id: str, label: Label = "", part: str | None = None) -> None:
        """Adds a recording.

        Args:
            where: the place in the table, for messages.
            id: its name in the data set.
            label: see `Clip`.
            part: its split or fold; None if the table does not say.

        Raises:
            EvaluationError: the id is empty or there already, or label or part is unknown.
        """
        if not id:
            raise EvaluationError(f"{where}: the name of the recording is empty.")
        if id in self._where:
            raise EvaluationError(f"{where}: {id} is listed already ({self._where[id]}).")
        if self._space is not None:
            try:
                self._space.numbers(label)
            except EvaluationError as error:
                raise EvaluationError(f"{where} ({id}): {error}") from error
        if part is not None:
            if part not in self._parts:
                raise EvaluationError(
                    f"{where}: the split or fold {part!r} is not one of {', '.join(self._parts)}."
                )
            self.parts[id] = part
        self.labels[id], self._where[id] = label, where

    def manifest(
        self,
        labels: Labels,
        sounds: Mapping[str, Sound],
        place: Path,
        dataset: Dataset,
        folds: tuple[str, ...] = (),
        missing: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> Manifest:
        """Returns the manifest of the listed recordings, in the order of the list.

        Recordings that are known to be bad or have neither split nor fold are left out.

        Args:
            labels: the label space.
            sounds: by id the recordings that are there.
            place: where they were searched, for messages.
            dataset: the data set.
            folds, missing, notes: of the manifest; absent recordings come before `missing`.

        Raises:
            EvaluationError: not one recording is there.
        """
        n_bad = sum(id in dataset.known_bad for id in self.labels)
        n_without_part = sum(id not in self.parts for id in self.labels)
        if n_without_part:
            notes += (f"{n_without_part} listed recordings have no split and are left out.",)
        ids = [id for id in self.labels if id in self.parts and id not in dataset.known_bad]
        clips = tuple(
            Clip(id, sounds[id], self.labels[id], self.parts[id]) for id in ids if id in sounds
        )
        if not clips:
            example = f", such as {ids[0]!r}" if ids else ""
            raise EvaluationError(
                f"{place} holds none of the {len(ids)} listed recordings{example}.\n"
                f"{dataset.obtain}"
            )
        absent = tuple(id for id in ids if id not in sounds)
        return Manifest(clips, labels, folds, absent + missing, n_bad + n_without_part, notes)


def located_rows(
    path: Path | str, columns: Iterable[str], delimiter: str = ",", content: bytes | None = None
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields (place for messages, cells by column) of every row of a table, see `read_table`."""
    for number, row in read_table(path, columns, delimiter, content):
        yield f"{path}, row {number}", row


def located_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yields (place for messages, text) of every line of a list that is not empty.

    Raises:
        EvaluationError: there is no such line.
    """
    lines = read_lines(path)
    if not lines:
        raise EvaluationError(f"{path} is empty; fetch the list again.")
    for number, line in enumerate(lines, 1):
        yield f"{path}, entry {number}", line
