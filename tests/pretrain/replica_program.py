"""Steps on several replicas: run by tests in processes of its own, because devices are fixed early.

    python replica_program.py OUTPUT.npz OBJECTIVE REPLICAS [mirrored|cached|multi_worker]

Crops, partners, ratios and residual masks of the global batch are the same however many replicas
share it: replica r takes its rows. As partners stay within a replica, they are drawn within
quarters of the batch, which every division into up to four replicas respects.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import micro
import numpy as np
import tensorflow as tf
from test_step import make_batch

CLIPS, CLASSES, QUARTERS = 8, 5, 4


def global_inputs(views, rows):
    """Everything that a step of the global batch takes, in NumPy."""
    random = np.random.default_rng(0)
    quarter = CLIPS // QUARTERS
    partners = np.stack(
        [
            np.concatenate([q * quarter + random.permutation(quarter) for q in range(QUARTERS)])
            for _ in range(views)
        ]
    )
    return {
        "audio": make_batch(CLIPS, views)["audio"].numpy(),
        "labels": random.integers(0, 2, (CLIPS, CLASSES)).astype(np.float32),
        "partners": partners.astype(np.int32),
        "ratios": random.uniform(0.3, 1.0, (views, CLIPS)).astype(np.float32),
        "masks": (random.uniform(size=(rows, views, CLIPS)) > 0.4).astype(np.float32),
    }


def main(output, objective, replicas, kind="mirrored"):
    replicas = int(replicas)
    # One step is not worth tracing.
    tf.config.run_functions_eagerly(True)
    if kind == "multi_worker":
        from hares_tf.pretrain.strategy import make_strategy

        strategy = make_strategy("multi_worker")
    elif replicas > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * replicas
        tf.config.set_logical_device_configuration(cpu, devices)
        strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    else:
        strategy = tf.distribute.get_strategy()
    assert strategy.num_replicas_in_sync == replicas

    from hares_tf.pretrain.draws import StepDraws
    from hares_tf.pretrain.step import apply_step

    config = micro.get_config() if objective == "simclr" else micro.classification()
    views = 2 if objective == "simclr" else 1
    with strategy.scope():
        learner = micro.awake_learner(config, CLASSES)
        learner.optimizer.iterations.assign(5)  # the learning rate of step 0 is 0
    (masks,) = learner.encoder.training_draws.values()
    whole = global_inputs(views, len(masks.rates))
    local = CLIPS // replicas

    def inputs(context):
        rows = slice(context.replica_id_in_sync_group * local, None)
        rows = slice(rows.start, rows.start + local)
        masks = whole["masks"][:, :, rows].reshape(len(whole["masks"]), -1)
        draws = StepDraws(
            {
                "partners": tf.constant(whole["partners"][:, rows] - rows.start),
                # Six equal numbers, of which the fifth smallest is the ratio.
                "ratios": tf.constant(np.repeat(whole["ratios"][:, rows, None], 6, axis=-1)),
            },
            ({"residual_masks": tf.constant(masks)},),
        )
        batch = {"audio": tf.constant(whole["audio"][rows])}
        if objective == "classification":
            batch["labels"] = tf.constant(whole["labels"][rows])
        return batch, draws

    @tf.function
    def step(batch, draws):
        def run(batch, draws):
            context = tf.distribute.get_replica_context()
            chunk = local * views // 2 if kind == "cached" else 0
            metrics, ranking = apply_step(learner, batch, draws, context, chunk)
            return metrics, ranking

        metrics, ranking = strategy.run(run, (batch, draws))
        totals = {
            name: strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
            for name, value in metrics.items()
        }
        # Every replica has the scores of all.
        return totals, {k: strategy.experimental_local_results(v)[-1] for k, v in ranking.items()}

    batch = strategy.experimental_distribute_values_from_function(lambda c: inputs(c)[0])
    draws = strategy.experimental_distribute_values_from_function(lambda c: inputs(c)[1])
    totals, ranking = step(batch, draws)
    arrays = {f"metric/{name}": value.numpy() for name, value in totals.items()}
    arrays |= {f"ranking/{name}": value.numpy() for name, value in ranking.items()}
    # The first moment of Adam after one step is a tenth of the gradient.
    arrays |= {name: np.asarray(v.value) for name, v in learner.named_variables().items()}
    np.savez(output, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
