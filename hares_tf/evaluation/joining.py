"""Joins the embeddings of selected clips with their labels."""

import os

import numpy as np

from hares_tf.evaluation.embeddings.mixing import louder_targets, mixed_targets
from hares_tf.evaluation.embeddings.selection import Selection
from hares_tf.evaluation.embeddings.store import EmbeddingSpace
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.heads.examples import Examples, matrix


def embedded_examples(
    selection: Selection, space: EmbeddingSpace, scratch: str | os.PathLike
) -> Examples:
    """Returns the examples of those selected clips that are embedded.

    Args:
        selection: the clips.
        space: holds their embeddings.
        scratch: folder for large temporary matrices.

    Raises:
        EvaluationError: none of the clips of a split or fold could be read.
    """
    manifest = selection.prepared.manifest
    embedded = [index for index, item in enumerate(selection.items) if item.key in space]
    parts = np.array([manifest.clips[i].part for i in selection.clips])
    absent = sorted(set(parts.tolist()) - set(parts[embedded].tolist()))
    if absent:
        raise EvaluationError(
            f"{selection.prepared.task.id}: no clip of {', '.join(absent)} could be read."
        )
    keys = [selection.items[index].key for index in embedded]
    kept, rows = np.array(embedded), np.array(space.rows(keys))
    embeddings = space.gather(keys, lambda n, dim: matrix(n, dim, scratch))
    ids = np.array([manifest.clips[i].id for i in selection.clips])
    targets = selection.targets
    if selection.plan.mixing:
        # Every window has its own labels, so every window becomes an example of its own.
        share = mixed_targets if manifest.labels.kind == "tags" else louder_targets
        targets = np.concatenate([share(targets, i, selection.mixtures[i]) for i in embedded])
        kept, rows = np.repeat(kept, rows), np.ones(len(targets), np.int64)
    else:
        targets = targets[kept]
    return Examples(embeddings, rows, targets, parts[kept], ids[kept], manifest.labels, scratch)


def unembedded_examples(selection: Selection, dim: int) -> Examples:
    """Returns the selected clips with their labels, one row each, without embeddings.

    Args:
        selection: the clips.
        dim: size of the embeddings that are computed while a head trains.
    """
    manifest = selection.prepared.manifest
    clips = [manifest.clips[i] for i in selection.clips]
    return Examples(
        np.empty((0, dim), np.float32),
        np.ones(len(clips), np.int64),
        selection.targets,
        np.array([clip.part for clip in clips]),
        np.array([clip.id for clip in clips]),
        manifest.labels,
    )
