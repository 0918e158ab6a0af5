"""Two steps of an objective with state, or of an encoder with batch normalization, on replicas.

    python contract_program.py OUTPUT.npz momentum|batch_norm REPLICAS

A process of its own, because logical devices are fixed early. The global batch is the same however
many replicas share it.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import batch_norm_encoder
import momentum_objective
import numpy as np
import tensorflow as tf
from test_step import make_batch

CLIPS, CLASSES = 8, 5


def main(output, kind, replicas):
    replicas = int(replicas)
    tf.config.run_functions_eagerly(True)
    strategy = tf.distribute.get_strategy()
    if replicas > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * replicas
        tf.config.set_logical_device_configuration(cpu, devices)
        strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])

    from hares_tf.pretrain.draws import StepDraws
    from hares_tf.pretrain.learner import create_learner
    from hares_tf.pretrain.step import apply_step

    module = {"momentum": momentum_objective, "batch_norm": batch_norm_encoder}[kind]
    config = module.get_config()
    if kind == "batch_norm":
        config.objective.mixing = "none"
    with strategy.scope():
        learner = create_learner(config, CLASSES)
        learner.optimizer.iterations.assign(5)  # the learning rate of step 0 is 0
    whole = make_batch(CLIPS, learner.objective.crops, classes=CLASSES)
    local = CLIPS // replicas

    def rows_of(context):
        first = context.replica_id_in_sync_group * local
        names = ["audio", "labels"] if learner.objective.needs_labels else ["audio"]
        return {name: whole[name][first : first + local] for name in names}

    crops = learner.objective.crops
    # Not used without mixing and stochastic depth.
    zeros = {"partners": tf.zeros([crops, local], tf.int32), "ratios": tf.zeros([crops, local, 6])}
    masks = {
        name: tf.ones([len(d.rates), local]) for name, d in learner.encoder.training_draws.items()
    }

    def step(batch):
        context = tf.distribute.get_replica_context()
        return apply_step(learner, batch, StepDraws(zeros, (masks,)), context)[0]

    batch = strategy.experimental_distribute_values_from_function(rows_of)
    for _ in range(2):
        strategy.run(step, (batch,))
    arrays = {name: np.asarray(v.value) for name, v in learner.named_variables().items()}
    np.savez(output, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
