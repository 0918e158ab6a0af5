"""Communication between the replicas of a strategy."""

import tensorflow as tf

from hares_tf.objectives.objective import ALONE, Gather


def gather_of(context, batch: int) -> Gather:
    """Returns the access of one replica to the examples of all replicas.

    Each replica writes its examples into its own rows of an otherwise empty global batch, and the
    sum over the replicas is everybody's. Unlike `all_gather` this has static shapes, as TPUs need,
    and a sum's gradient is a sum: every replica receives what all others' losses owe it.

    Args:
        context: of `tf.distribute.get_replica_context()`.
        batch: examples per replica.
    """
    replicas = context.num_replicas_in_sync
    if replicas == 1:
        return ALONE
    replica = context.replica_id_in_sync_group

    def all_examples(x):
        own_rows = tf.one_hot(replica, replicas, dtype=x.dtype)
        scattered = tf.reshape(own_rows, [replicas] + [1] * len(x.shape)) * x[tf.newaxis]
        summed = context.all_reduce(tf.distribute.ReduceOp.SUM, scattered)
        return tf.reshape(summed, [replicas * batch, *x.shape[1:]])

    return Gather(all_examples, tf.cast(replica, tf.int32) * batch)
