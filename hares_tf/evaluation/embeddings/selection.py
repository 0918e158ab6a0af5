"""Selections: the clips of a task that are embedded under one plan."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hares_tf.evaluation.embeddings.embedding import Item
from hares_tf.evaluation.embeddings.mixing import Mixture, mixtures
from hares_tf.evaluation.embeddings.windows import Plan
from hares_tf.evaluation.tasks.preparing import PreparedTask


@dataclass(frozen=True)
class Selection:
    """The clips of some parts of a task under one plan.

    Attributes:
        prepared: the task.
        plan: the windows of each clip.
        clips: `[selected]` positions in the manifest.
        items: what is embedded of each.
        mixtures: for mixing plans the mixture of each, else empty.
    """

    prepared: PreparedTask
    plan: Plan
    clips: np.ndarray
    items: list[Item]
    mixtures: list[Mixture] = field(default_factory=list)

    @property
    def targets(self) -> np.ndarray:
        """The targets of the selected clips (see `Labels.targets`)."""
        manifest = self.prepared.manifest
        return manifest.labels.targets([manifest.clips[i].label for i in self.clips])

    def by_clip(self, reasons: Mapping[str, str]) -> dict[str, str]:
        """Returns why clips failed, by their id, from why items failed, by their key."""
        if not reasons:
            return {}
        clips = self.prepared.manifest.clips
        return {
            clips[i].id: reasons[item.key]
            for i, item in zip(self.clips, self.items, strict=True)
            if item.key in reasons
        }


def select(prepared: PreparedTask, parts: Iterable[str] | None, plan: Plan) -> Selection:
    """Selects clips and draws their mixtures.

    Args:
        prepared: the task.
        parts: the splits or folds to take; None: all.
        plan: the windows of each clip.
    """
    clips = prepared.manifest.clips
    taken = None if parts is None else set(parts)
    selected = np.array(
        [i for i, clip in enumerate(clips) if taken is None or clip.part in taken], np.int64
    )
    if not plan.mixing or not plan.stored:
        items = [Item(prepared.digests[i], clips[i].sound) for i in selected]
        return Selection(prepared, plan, selected, items)
    mixed = mixtures(
        [prepared.digests[i] for i in selected],
        [clips[i].part for i in selected],
        plan.count,
        plan.seed,
    )
    items = [
        Item(
            mixture.key,
            clips[i].sound,
            tuple(clips[selected[partner]].sound for partner in mixture.partners),
            tuple(mixture.shares.tolist()),
        )
        for i, mixture in zip(selected, mixed, strict=True)
    ]
    return Selection(prepared, plan, selected, items, mixed)
