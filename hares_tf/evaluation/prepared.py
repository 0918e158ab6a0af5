"""A task made ready: its clips read and hashed, then joined with their embeddings."""

from dataclasses import dataclass

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.heads import Examples
from hares_tf.evaluation.store import EmbeddingSpace
from hares_tf.evaluation.tasks import Manifest, Task
from hares_tf.files import DigestCache


@dataclass(frozen=True)
class PreparedTask:
    """A task with its clips and their digests."""

    task: Task
    manifest: Manifest
    digests: list[str]
    manifest_hash: str


def prepare(task: Task, digest_cache: DigestCache) -> PreparedTask:
    """Reads and checks the task's manifest, and hashes its clips."""
    manifest = task.read_manifest()
    digests = digest_cache.digests([clip.path for clip in manifest.clips])
    return PreparedTask(task, manifest, digests, manifest.content_hash(digests))


def examples(prepared: PreparedTask, space: EmbeddingSpace) -> Examples:
    """The embedded clips with their labels.

    Raises:
        EvaluationError: none of a split's or fold's clips could be read.
    """
    kept = [
        (clip, digest)
        for clip, digest in zip(prepared.manifest.clips, prepared.digests, strict=True)
        if digest in space
    ]
    parts = {clip.part for clip, _ in kept}
    wanted = set(prepared.manifest.folds) or {"train", "test"}
    if not wanted <= parts:
        raise EvaluationError(
            f"{prepared.task.id}: no clip of {', '.join(sorted(wanted - parts))} could be read"
        )
    number = {label: index for index, label in enumerate(prepared.manifest.labels)}
    digests = [digest for _, digest in kept]
    return Examples(
        embeddings=space.gather(digests),
        rows_per_clip=np.array(space.rows(digests)),
        labels=np.array([number[clip.label] for clip, _ in kept]),
        parts=np.array([clip.part for clip, _ in kept]),
        ids=tuple(clip.id for clip, _ in kept),
        n_classes=len(number),
    )


def clip_counts(prepared: PreparedTask, failures: dict[str, str]) -> dict:
    """What a result says of its clips; `failures` maps ids to why they could not be read."""
    manifest = prepared.manifest
    return {
        "n_expected": len(manifest.clips),
        "n_failed": len(failures),
        "n_excluded_rows": manifest.n_excluded,
        "n_repeated_across_parts": _repeated_across_parts(prepared),
        "failures": failures,
        "manifest_hash": prepared.manifest_hash,
        "n_labels": len(manifest.labels),
    }


def _repeated_across_parts(prepared: PreparedTask) -> int:
    """Recordings that stand, byte for byte, in more than one split or fold: a leak to know of."""
    parts: dict[str, set[str]] = {}
    for clip, digest in zip(prepared.manifest.clips, prepared.digests, strict=True):
        parts.setdefault(digest, set()).add(clip.part)
    return sum(len(found) > 1 for found in parts.values())
