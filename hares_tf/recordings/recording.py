"""Labeled recordings, and the lists of them that sources give."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hares_tf.recordings.sound import Sound

#: The reason of a listed recording whose file does not exist.
ABSENT = "absent"
#: The splits that a table of recordings may assign.
PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording, with or without labels.

    Attributes:
        id: unique within its list; valid UTF-8.
        sound: where its audio is: a file, a member of an archive, or a stretch of either.
        labels: indices into the label names of the list, sorted; may be empty.
        part: one of `PARTS` where a split is given, otherwise "".
    """

    id: str
    sound: Sound
    labels: tuple[int, ...] = ()
    part: str = ""


@dataclass(frozen=True)
class Source:
    """An ordered list of recordings: what a folder, a table or a task gives.

    Attributes:
        name: a short name for messages.
        recordings: the recordings that exist.
        label_names: the names that the labels of recordings index; empty without labels.
        rejected: (id, reason) of recordings that are known to be unusable, such as absent ones.
        description: what was asked for, as JSON data.
        notes: what a user should know about this copy of the data, as sentences.
        n_listed: the number of rows of a table by label, including those of absent recordings;
            empty where no table lists the recordings.
    """

    name: str
    recordings: tuple[Recording, ...]
    label_names: tuple[str, ...] = ()
    rejected: tuple[tuple[str, str], ...] = ()
    description: dict = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    n_listed: Mapping[str, int] = field(default_factory=dict)


def readable(text: str) -> str:
    """Returns `text` as valid UTF-8; file names may hold any bytes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
