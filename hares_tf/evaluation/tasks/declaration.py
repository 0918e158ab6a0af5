"""Declarations of tasks: data, and one function that reads the list of clips."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hares_tf.evaluation.tasks.labels import Label, Labels
from hares_tf.recordings.sound import Sound

SPLITS = ("train", "validation", "test")
DOMAINS = ("environment", "speech", "music")
# hares: enters a HARES total; variant: same data set, other numbers; mini: synthetic; user: own.
SUITES = ("hares", "variant", "mini", "user")


@dataclass(frozen=True, slots=True)
class Clip:
    """One labeled recording of a task.

    Where its labels are to be indices, as for training, `Labels.indices` translates them and a
    clip becomes a `hares_tf.recordings.Recording` (see `hares_tf.data.published_sources`).

    Attributes:
        id: its name in the data set, unique within the task.
        sound: its audio.
        label: its class; for slots and tags a tuple of names (see `Labels`).
        part: "train", "validation" or "test", or the name of its fold.
    """

    id: str
    sound: Sound
    label: Label
    part: str


@dataclass(frozen=True)
class Manifest:
    """The clips of a task, with labels and splits.

    Attributes:
        clips: all clips that take part and whose audio is there.
        labels: the label space.
        folds: the fold names in order; empty for tasks with train and test splits.
        missing: ids of clips that the data set's lists name and that are not there.
        n_excluded: clips left out on purpose (known-bad files, empty split in a user's table).
        notes: what a user should know of this copy of the data, as sentences.
    """

    clips: tuple[Clip, ...]
    labels: Labels
    folds: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    n_excluded: int = 0
    notes: tuple[str, ...] = ()

    @property
    def part_sizes(self) -> dict[str, int]:
        """The number of clips by split or fold."""
        return dict(sorted(Counter(clip.part for clip in self.clips).items()))

    def content_hash(self, digests: list[str]) -> str:
        """Returns the SHA-256 over (id, label, part, digest of the audio) of all clips."""
        whole = hashlib.sha256()
        for clip, digest in zip(self.clips, digests, strict=True):
            label = clip.label if isinstance(clip.label, str) else "\x1f".join(clip.label)
            whole.update(f"{clip.id}\0{label}\0{clip.part}\0{digest}\n".encode())
        return whole.hexdigest()


@dataclass(frozen=True)
class Places:
    """The folders in which a user keeps data.

    Attributes:
        data_dir: holds one folder (or the archives) per data set, as distributed; None if unknown.
        tfds_dir: a `data_dir` of tensorflow-datasets with prepared data sets; None if there is
            none.
    """

    data_dir: Path | None = None
    tfds_dir: Path | None = None


@dataclass(frozen=True)
class Dataset:
    """The data set that a task's recordings come from, described for users.

    Attributes:
        name: its name as given by its authors.
        folder: the folder below `data_dir` that it is looked for in first.
        license: license of the audio, in a few words.
        citation: who to cite, one line.
        obtain: steps to get the data and how to lay them out below `data_dir`, as plain text.
        known_bad: ids that are left out, with the reason.
    """

    name: str
    folder: str
    license: str
    citation: str
    obtain: str
    known_bad: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Windows:
    """The windows of a clip that heads are trained and tested on.

    Attributes:
        seconds: length of a window.
        test: "tiles" (consecutive from sample 0, the last one zero-padded) or "spread" (`count`
            equally spaced ones, the first at the beginning, the last at the end of the clip).
        count: number of spread windows.
        train: what the `paper` protocol trains on: "crops" (random ones) or "whole" (the tiles of
            testing: for clips that are one window long).
    """

    seconds: float
    test: str = "tiles"
    count: int = 0
    train: str = "crops"


@dataclass(frozen=True)
class Schedule:
    """Steps of the `paper` protocol (Appendix A: 400k steps of 64 unless stated otherwise)."""

    steps: int = 400_000
    batch: int = 64


@dataclass(frozen=True)
class Task:
    """A task: one row of a results table.

    Attributes:
        id: unique name; the name of the result file.
        version: raised whenever a change of the declaration or reader may move scores.
        domain: "environment", "speech" or "music".
        windows: the parts of a clip that are embedded.
        head: what is trained on the embeddings: "linear", "mlp" or "svm".
        metric: a key of `metrics.METRICS`: "accuracy", "exact_match" or
            "mean_average_precision".
        read: reads and checks the list of clips that is found in the given places.
        suite: one of `SUITES`.
        expected: number of clips of a whole copy by split or fold; empty if any number will do.
        dataset: where the recordings come from; None for users' own tasks.
        schedule: of the `paper` protocol.
        mixing: whether the `paper` protocol trains on mixed examples with soft labels.
        native_head: whether a model's own classifier may stand in for a trained head.
        source: where the declaration stands, for messages and provenance.
    """

    id: str
    version: int
    domain: str
    windows: Windows
    head: str
    metric: str
    read: Callable[[Places], Manifest] = field(compare=False)
    suite: str = "user"
    expected: Mapping[str, int] = field(default_factory=dict)
    dataset: Dataset | None = None
    schedule: Schedule = Schedule()
    mixing: bool = False
    native_head: bool = False
    source: str = ""

    def declaration(self) -> dict:
        """Returns the fields that affect the score, as JSON data."""
        return {
            "id": self.id,
            "version": self.version,
            "domain": self.domain,
            "suite": self.suite,
            "windows": asdict(self.windows),
            "head": self.head,
            "metric": self.metric,
            "expected": dict(self.expected),
            "schedule": asdict(self.schedule),
            "mixing": self.mixing,
        }
