"""A whole run on several replicas, in a process of its own.

python run_program.py CLIPS WORKDIR mirrored|multi_worker
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import micro
import tensorflow as tf

from hares_tf.pretrain import make_strategy, pretrain

if __name__ == "__main__":
    clips, workdir, kind = sys.argv[1:]
    if kind == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, devices)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = make_strategy(kind)
    config = micro.classification() if kind == "mirrored" else micro.get_config()
    config.steps = 6
    sys.exit(pretrain(config, clips, workdir, strategy=strategy))
