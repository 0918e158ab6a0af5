"""Retrains a Hub module on labeled recordings, in Keras 3, and exports the result as a module.

    python examples/retrain_keras.py --handle=demo/tiny_simclr --audio=sounds --output=mine

Subfolders of `sounds` are labels (or --labels=FILE: a CSV of file and label). On ESC-10, about:

    400 recordings of 10 labels, 80 of them held out
    frozen: 72.5% are right
    fine-tuned: 73.8% are right
    mine: waveform -> embedding, logits
"""

import argparse
from pathlib import Path

from hares_tf.evaluation import Interface, stated_interface
from hares_tf.finetune import read_recordings
from hares_tf.hub import HubLayer, locate
from hares_tf.utils.errors import HaresError
from hares_tf.utils.files import atomic_directory
import keras
import numpy as np

flags = {"handle": "", "audio": "", "output": "", "labels": "subfolder", "seconds": 3.0}
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
for name, default in (flags | {"epochs": 5, "sample_rate": 0}).items():
    parser.add_argument(f"--{name}", type=type(default), default=default, required=default == "")
args = parser.parse_args()
if Path(args.output).exists() or not 0 < args.seconds <= 3600:
    parser.error(f"{args.output} exists, or --seconds={args.seconds} not between 0 and 3600")
try:
    stated, _ = stated_interface(locate(args.handle), Interface(args.sample_rate or None))
    hub, rate = HubLayer(args.handle, trainable=True), stated.sample_rate
    data = read_recordings(args.audio, args.labels)
    waveforms = [recording.sound.load(rate) for recording in data.recordings]
except HaresError as error:
    parser.error(str(error))
x = keras.utils.pad_sequences(waveforms, round(args.seconds * rate), "float32", "post", "post")
y = np.array([recording.labels[0] for recording in data.recordings])
test = np.random.default_rng(0).permutation(len(y)) % 5 == 0
print(f"{len(y)} recordings of {len(data.label_names)} labels, {test.sum()} of them held out")
embedding = hub(waveform := keras.Input((None,), name="waveform"))
frozen = keras.Model(waveform, embedding).predict(x, batch_size=8, verbose=0)  # needed only once
head = keras.Sequential([keras.layers.Normalization(), keras.layers.Dense(len(data.label_names))])
head.layers[0].adapt(frozen[~test])
model = keras.Model(waveform, logits := head(embedding))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
stages = (("frozen", head, frozen, 1e-3, 100), ("fine-tuned", model, x, 1e-4, args.epochs))
for stage, part, inputs, step, epochs in stages:
    part.compile(keras.optimizers.Adam(step), loss, metrics=["accuracy"])
    part.fit(inputs[~test], y[~test], batch_size=8, epochs=epochs, verbose=0)
    print(f"{stage}: {part.evaluate(inputs[test], y[test], 8, 0)[1]:.1%} are right")
with atomic_directory(args.output) as draft:
    keras.Model(waveform, {"embedding": embedding, "logits": logits}).export(draft, verbose=False)
    name, classes = Path(args.output).name, data.label_names
    hub.write_card(draft, name=name, sample_rate=rate, classes=classes)
print(f"{args.output}: waveform -> embedding, logits")
