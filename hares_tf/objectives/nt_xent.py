"""The contrastive loss of SimCLR (Chen et al., 2020): normalized temperature cross-entropy."""

from keras import ops

# Added to an example's logit with itself, to take it out of the softmax: exp(-1e9) is 0.
_NEVER = 1e9


def unit_length(vectors):
    """Vectors of length 1, in float32 at least: `[..., dim]` -> the same shape.

    The floor under the root keeps value and gradient of a zero vector finite.
    """
    if vectors.dtype != "float64":
        vectors = ops.cast(vectors, "float32")
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squares, 1e-12))


def nt_xent(first, second, all_first, all_second, offset, temperature):
    """Loss of each local pair against the global batch.

    Each view must recognize the other view of its clip among all other views of the global batch,
    `2 * global_batch - 1` candidates of which one is right; both directions count, so the loss of
    a pair is the sum of two cross-entropies (as in SimCLR's published code; a guess without
    knowledge costs `2 log(2 * global_batch - 1)`).

    Args:
        first: `[batch, dim]` first views of this replica's clips, of unit length, float32.
        second: `[batch, dim]` second views of the same clips.
        all_first: `[global_batch, dim]` first views of all replicas.
        all_second: `[global_batch, dim]` second views of all replicas.
        offset: where this replica's clips stand in the global batch.
        temperature: by which similarities are divided (paper, Appendix C: 0.1).

    Returns:
        `(loss, accuracy)`, each `[batch]`: the sum of the two cross-entropies, and the share (0,
        0.5 or 1) of directions in which the right candidate was the most similar.
    """
    batch, global_batch = first.shape[0], all_first.shape[0]
    own = ops.one_hot(ops.arange(batch) + offset, global_batch, dtype=first.dtype)
    loss, accuracy = 0.0, 0.0
    for view, others, same in ((first, all_second, all_first), (second, all_first, all_second)):
        across = ops.matmul(view, ops.transpose(others)) / temperature
        within = ops.matmul(view, ops.transpose(same)) / temperature - _NEVER * own
        right = ops.sum(across * own, axis=1)
        loss = loss + ops.logsumexp(ops.concatenate([across, within], axis=1), axis=1) - right
        # Strictly more similar than every other: if all views are alike, no partner is recognized.
        wrong = ops.concatenate([across - _NEVER * own, within], axis=1)
        found = ops.cast(right > ops.max(wrong, axis=1), first.dtype)
        accuracy = accuracy + 0.5 * found
    return loss, accuracy
