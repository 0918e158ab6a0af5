"""A whole run on several replicas, in a process of its own.

python run_program.py CLIPS WORKDIR mirrored|cached|multi_worker

"cached" is "mirrored" with gradient caching. Workers are probed.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import micro
import tensorflow as tf

from hares_tf.pretrain import make_strategy, pretrain


class Examiner:
    """Uses the encoder as a probe does, on the chief alone, while the others go on."""

    def run(self, model, step):
        embedding = model(tf.ones([1, 1600]), training=False)
        score = float(tf.reduce_mean(tf.abs(embedding)))
        return {"size": score, "mean": score}


if __name__ == "__main__":
    clips, workdir, kind = sys.argv[1:]
    if kind != "multi_worker":
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, devices)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = make_strategy(kind)
    probe = None
    if kind == "multi_worker":
        config, probe = micro.get_config(), Examiner()
        config.probe.every = 2
    else:
        config = micro.classification()
        config.chunk = 2 if kind == "cached" else 0
    config.steps = 6
    sys.exit(pretrain(config, clips, workdir, strategy=strategy, probe=probe))
