"""A task made ready: its clips read and hashed, then joined with their embeddings."""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from hares_tf.evaluation.embeddings.embedding import Item
from hares_tf.evaluation.embeddings.mixing import Mixture, louder_targets, mixed_targets, mixtures
from hares_tf.evaluation.embeddings.store import EmbeddingSpace
from hares_tf.evaluation.embeddings.windows import Plan
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.heads.examples import Examples, matrix
from hares_tf.evaluation.tasks.declaration import Manifest, Places, Task
from hares_tf.utils.files import DigestCache
from hares_tf.utils.progress import Progress


@dataclass(frozen=True)
class PreparedTask:
    """A task with its clips and their digests.

    Attributes:
        incomplete_because: what keeps this copy of the data from being the whole task.
    """

    task: Task
    manifest: Manifest
    digests: list[str]
    manifest_hash: str
    incomplete_because: tuple[str, ...] = ()


def prepare(
    task: Task, places: Places, digest_cache: DigestCache, subset: bool, progress: Progress
) -> PreparedTask:
    """Reads and checks the task's manifest, and hashes its clips.

    Args:
        task: its declaration.
        places: where its data may be.
        digest_cache: digests known from before.
        subset: go on with a part of the data; the result will say so.
        progress: reports the hashing, which takes hours for the largest data sets.

    Raises:
        EvaluationError: the data are not there, malformed, or (unless `subset`) not whole.
    """
    manifest = task.read(places)
    problems = shortfalls(task, manifest)
    if problems and not subset:
        raise EvaluationError(
            f"{task.id}: {'; '.join(problems)}. `hares-check-data` shows what is there and what is "
            "missing; with --subset the part that is there is scored, and the result says that it "
            "is incomplete"
        )
    _check_parts(task, manifest)
    with progress.phase(task.id, "checking files", len(manifest.clips), "clip") as bar:

        def contents():
            for clip in manifest.clips:
                yield clip.sound.where, clip.sound.container, clip.sound.content_digest
                bar.update()

        # Interned: the store's keys are then the same objects, not copies.
        digests = list(map(sys.intern, digest_cache.remembered(contents())))
    return PreparedTask(task, manifest, digests, manifest.content_hash(digests), tuple(problems))


def shortfalls(task: Task, manifest: Manifest) -> list[str]:
    """How a copy of the data differs from a whole one, as phrases; empty if it does not."""
    problems = []
    if manifest.missing:
        names = ", ".join(manifest.missing[:3]) + (", ..." if len(manifest.missing) > 3 else "")
        problems.append(f"{len(manifest.missing)} listed clip(s) are missing ({names})")
    sizes = manifest.part_sizes
    for part, expected in task.expected.items():
        found = sizes.get(part, 0)
        if found != expected:
            problems.append(f"{part} has {found} clips where a whole copy has {expected}")
    return problems


def _check_parts(task: Task, manifest: Manifest) -> None:
    """Refuses a list of clips that nothing could be learned or tested on."""
    wanted = set(manifest.folds) or {"train", "test"}
    absent = sorted(wanted - set(manifest.part_sizes))
    if absent:
        raise EvaluationError(f"{task.id}: there is no clip of {', '.join(absent)}")
    if manifest.folds and len(manifest.folds) < 2:
        raise EvaluationError(f"{task.id}: there is one fold only, {manifest.folds[0]!r}")


@dataclass(frozen=True)
class Selection:
    """The clips of some parts under one plan: what is embedded, and how it is labelled.

    Attributes:
        clips: `[chosen]` positions in the manifest.
        items: the item of each.
        mixtures: for mixing plans the mixture of each, else empty.
    """

    prepared: PreparedTask
    plan: Plan
    clips: np.ndarray
    items: list[Item]
    mixtures: list[Mixture] = field(default_factory=list)

    def examples(self, space: EmbeddingSpace, scratch: str | os.PathLike) -> Examples:
        """The clips that are embedded, with their labels.

        Raises:
            EvaluationError: none of a split's or fold's clips could be read.
        """
        manifest = self.prepared.manifest
        kept = [index for index, item in enumerate(self.items) if item.key in space]
        parts = np.array([manifest.clips[i].part for i in self.clips])
        absent = sorted(set(parts.tolist()) - set(parts[kept].tolist()))
        if absent:
            raise EvaluationError(
                f"{self.prepared.task.id}: no clip of {', '.join(absent)} could be read"
            )
        keys = [self.items[index].key for index in kept]
        rows = np.array(space.rows(keys))
        embeddings = space.gather(keys, lambda n, dim: matrix(n, dim, scratch))
        targets = manifest.labels.targets([manifest.clips[i].label for i in self.clips])
        ids = np.array([manifest.clips[i].id for i in self.clips])
        if self.plan.mixing:
            # Every window has labels of its own, so every window stands as a clip.
            share = mixed_targets if manifest.labels.kind == "tags" else louder_targets
            targets = np.concatenate([share(targets, i, self.mixtures[i]) for i in kept])
            kept, rows = np.repeat(kept, rows), np.ones(len(targets), np.int64)
        else:
            targets = targets[kept]
        return Examples(embeddings, rows, targets, parts[kept], ids[kept], manifest.labels, scratch)

    def without_embeddings(self, dim: int) -> Examples:
        """The clips with their labels, one row each, none of them embedded."""
        clips = [self.prepared.manifest.clips[i] for i in self.clips]
        labels = self.prepared.manifest.labels
        return Examples(
            np.empty((0, dim), np.float32),
            np.ones(len(clips), np.int64),
            labels.targets([clip.label for clip in clips]),
            np.array([clip.part for clip in clips]),
            np.array([clip.id for clip in clips]),
            labels,
        )


def select(prepared: PreparedTask, parts: Iterable[str] | None, plan: Plan) -> Selection:
    """The clips of some parts (None: of all) under a plan."""
    clips = prepared.manifest.clips
    wanted = None if parts is None else set(parts)
    chosen = np.array(
        [i for i, clip in enumerate(clips) if wanted is None or clip.part in wanted], np.int64
    )
    if not plan.mixing or not plan.stored:
        items = [Item(prepared.digests[i], clips[i].sound) for i in chosen]
        return Selection(prepared, plan, chosen, items)
    mixed = mixtures(
        [prepared.digests[i] for i in chosen],
        [clips[i].part for i in chosen],
        plan.count,
        plan.seed,
    )
    items = [
        Item(
            mixture.key,
            clips[i].sound,
            tuple(clips[chosen[partner]].sound for partner in mixture.partners),
            tuple(mixture.shares.tolist()),
        )
        for i, mixture in zip(chosen, mixed, strict=True)
    ]
    return Selection(prepared, plan, chosen, items, mixed)


def clip_counts(prepared: PreparedTask, failures: dict[str, str]) -> dict:
    """What a result says of its clips; `failures` maps ids to why they could not be read."""
    manifest = prepared.manifest
    return {
        "n_expected": sum(prepared.task.expected.values())
        or len(manifest.clips) + len(manifest.missing),
        "n_missing": len(manifest.missing),
        "n_failed": len(failures),
        "n_excluded": manifest.n_excluded,
        "n_repeated_across_parts": _repeated_across_parts(prepared),
        "parts": manifest.part_sizes,
        "failures": failures,
        "notes": list(manifest.notes),
        "manifest_hash": prepared.manifest_hash,
        "n_labels": manifest.labels.width,
    }


def _repeated_across_parts(prepared: PreparedTask) -> int:
    """Recordings that stand, byte for byte, in more than one split or fold: a leak to know of."""
    part_of: dict[str, str] = {}
    repeated = set()
    for clip, digest in zip(prepared.manifest.clips, prepared.digests, strict=True):
        if part_of.setdefault(digest, clip.part) != clip.part:
            repeated.add(digest)
    return len(repeated)
