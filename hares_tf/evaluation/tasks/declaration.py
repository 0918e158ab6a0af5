"""What a task is: data, no behaviour."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

SPLITS = ("train", "validation", "test")
DOMAINS = ("environment", "speech", "music")


@dataclass(frozen=True)
class Clip:
    """One labelled recording.

    Attributes:
        id: unique within the task (the manifest's own file name for it).
        path: the audio file.
        label: its class.
        part: "train", "validation" or "test", or the number of its fold.
    """

    id: str
    path: Path
    label: str
    part: str


@dataclass(frozen=True)
class Manifest:
    """The list of a task's clips.

    Attributes:
        clips: all clips that take part.
        labels: the class names, sorted.
        folds: the fold names in order; empty for tasks with train and test splits.
        n_excluded: rows that the manifest leaves out on purpose (empty split).
    """

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    folds: tuple[str, ...] = ()
    n_excluded: int = 0

    def content_hash(self, digests: list[str]) -> str:
        """SHA-256 over (id, label, part, digest of the audio) of every clip, in order."""
        whole = hashlib.sha256()
        for clip, digest in zip(self.clips, digests, strict=True):
            whole.update(f"{clip.id}\0{clip.label}\0{clip.part}\0{digest}\n".encode())
        return whole.hexdigest()


@dataclass(frozen=True)
class Task:
    """One row of a table: what is asked of an encoder, and how the answer is scored.

    Attributes:
        id: unique name; the name of the result file.
        version: raised whenever a change of the declaration or reader may move scores.
        domain: "environment", "speech" or "music".
        window_seconds: length of the pieces that are embedded; clips are tiled with them.
        head: what is trained on the embeddings, a key of `heads.HEADS`.
        metric: a key of `metrics.METRICS`.
        read_manifest: reads and checks the list of clips.
        source: where the declaration stands, for messages and provenance.
    """

    id: str
    version: int
    domain: str
    window_seconds: float
    head: str
    metric: str
    read_manifest: Callable[[], Manifest] = field(compare=False)
    source: str = ""

    def declaration(self) -> dict:
        """The fields that decide what is computed, as JSON data."""
        values = asdict(self)
        del values["read_manifest"], values["source"]
        return json.loads(json.dumps(values))
