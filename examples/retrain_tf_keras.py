"""Retrains a Hub module on labelled recordings in Keras 2 (tf_keras), through hub.KerasLayer.

    python examples/retrain_tf_keras.py --handle=demo/tiny_simclr --audio=sounds --output=mine

`sounds` holds a subfolder of recordings for each label; or --labels=FILE names a CSV with columns
file and label. A new classifier is trained on the frozen module, then both at a low rate:

    30 recordings of 3 labels, 6 of them held out
    frozen: 83.3% are right
    fine-tuned: 83.3% are right
    mine: waveform -> logits
"""

import argparse
import sys

import numpy as np

from hares_tf.errors import HaresError
from hares_tf.finetune import read_recordings
from hares_tf.hub import locate

try:
    import tensorflow_hub
    import tf_keras
except ImportError as error:
    sys.exit(f"skipped: {error}; pip install tf_keras tensorflow-hub 'setuptools<82'")

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
for name in ("handle", "audio", "output"):
    parser.add_argument(f"--{name}", required=True)
for name, default in (("labels", "subfolder"), ("seconds", 3.0), ("epochs", 5)):
    parser.add_argument(f"--{name}", type=type(default), default=default)
args = parser.parse_args()
try:
    module = locate(args.handle)
    rate = (module.card or {}).get("sample_rate", 16_000)
    found = read_recordings(args.audio, args.labels)
    waveforms = [recording.sound.load(rate) for recording in found.recordings]
except HaresError as error:
    parser.error(str(error))
x = tf_keras.utils.pad_sequences(waveforms, round(args.seconds * rate), "float32", "post", "post")
y = np.array([recording.label for recording in found.recordings])
test = np.random.default_rng(0).permutation(len(y)) % 5 == 0
print(f"{len(y)} recordings of {len(found.classes)} labels, {test.sum()} of them held out")
hub = tensorflow_hub.KerasLayer(str(module.path), trainable=True)
hub.trainable = False
scale, dense = tf_keras.layers.Normalization(), tf_keras.layers.Dense(len(found.classes))
model = tf_keras.Sequential([tf_keras.Input((None,), name="waveform"), hub, scale, dense])
scale.adapt(tf_keras.Sequential([hub]).predict(x[~test], batch_size=8, verbose=0))
loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
for stage, epochs, step in (("frozen", 50, 1e-2), ("fine-tuned", args.epochs, 1e-4)):
    hub.trainable = stage == "fine-tuned"
    model.compile(tf_keras.optimizers.Adam(step), loss, metrics=["accuracy"])
    model.fit(x[~test], y[~test], batch_size=8, epochs=epochs, verbose=0)
    print(f"{stage}: {model.evaluate(x[test], y[test], 8, 0)[1]:.1%} are right")
tf_keras.utils.disable_interactive_logging()  # of export: a line for each variable
model.export(args.output)
print(f"{args.output}: waveform -> logits")
