"""Retrains a Hub module on labeled recordings in Keras 2 (tf_keras), through hub.KerasLayer.

    python examples/retrain_tf_keras.py --handle=demo/tiny_simclr --audio=sounds --output=mine

Subfolders of `sounds` are labels (or --labels=FILE: a CSV with columns file and label):

    30 recordings of 3 labels, 6 of them held out
    frozen: 83.3% are right
    fine-tuned: 83.3% are right
    mine: waveform -> logits
"""

import argparse
from pathlib import Path

from hares_tf.evaluation import Interface, stated_interface
from hares_tf.finetune import read_recordings
from hares_tf.hub import locate
from hares_tf.utils.errors import HaresError
from hares_tf.utils.files import atomic_directory
import numpy as np

try:
    import tensorflow_hub
    from tf_keras import Input, Sequential, layers, losses, optimizers, utils
except ImportError as e:
    raise SystemExit(f"skipped: {e}; pip install tf_keras tensorflow-hub 'setuptools<82'") from e
flags = {"handle": "", "audio": "", "output": "", "labels": "subfolder", "seconds": 3.0}
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
for name, default in (flags | {"epochs": 5, "sample_rate": 0}).items():
    parser.add_argument(f"--{name}", type=type(default), default=default, required=default == "")
args = parser.parse_args()
if Path(args.output).exists() or not 0 < args.seconds <= 3600:
    parser.error(f"{args.output} exists, or --seconds={args.seconds} not between 0 and 3600")
try:
    module = locate(args.handle)
    rate = stated_interface(module, Interface(args.sample_rate or None))[0].sample_rate
    data = read_recordings(args.audio, args.labels)
    waveforms = [recording.sound.load(rate) for recording in data.recordings]
except HaresError as error:
    parser.error(str(error))
x = utils.pad_sequences(waveforms, round(args.seconds * rate), "float32", "post", "post")
y = np.array([recording.labels[0] for recording in data.recordings])
test = np.random.default_rng(0).permutation(len(y)) % 5 == 0
print(f"{len(y)} recordings of {len(data.label_names)} labels, {test.sum()} of them held out")
hub, scale = tensorflow_hub.KerasLayer(str(module.path), trainable=True), layers.Normalization()
scale.adapt(Sequential([hub]).predict(x[~test], batch_size=8, verbose=0))
model = Sequential([Input((None,), name="waveform"), hub, scale, layers.Dense(y.max() + 1)])
loss = losses.SparseCategoricalCrossentropy(from_logits=True)
for stage, epochs, step in (("frozen", 50, 1e-2), ("fine-tuned", args.epochs, 1e-4)):
    hub.trainable = stage == "fine-tuned"
    model.compile(optimizers.Adam(step), loss, metrics=["accuracy"])
    model.fit(x[~test], y[~test], batch_size=8, epochs=epochs, verbose=0)
    print(f"{stage}: {model.evaluate(x[test], y[test], 8, 0)[1]:.1%} are right")
with atomic_directory(args.output) as draft:
    utils.disable_interactive_logging()  # a line for each variable
    model.export(str(draft))
print(f"{args.output}: waveform -> logits")
