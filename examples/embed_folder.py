"""Embeddings of all recordings below a folder, as a table: one row each.

    python examples/embed_folder.py --handle=demo/tiny_simclr --audio=sounds --output=sounds.csv

Any Hub handle will do. A recording is cut into windows of --seconds, the last one filled with
silence; its embedding is the mean of theirs. Read the table with pandas, or in a spreadsheet:

    calls __call__: 304 features at 16000 Hz
    left out: The sound file 'sounds/notes.txt' is not a sound that can be decoded (...)
    sounds.csv: 400 recordings, 1 left out
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

from hares_tf.audio import AudioError, load_audio
from hares_tf.errors import HaresError
from hares_tf.evaluation import Runtime, encoder_of
from hares_tf.evaluation.handle import in_words

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
for name in ("handle", "audio", "output"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--seconds", type=float, default=3.0, help="of a window (default: 3)")
parser.add_argument("--runtime", default="tensorflow", help="or openvino: faster on a CPU")
args = parser.parse_args()
paths = sorted(p for p in Path(args.audio).rglob("*") if p.is_file() and p.name[0] != ".")
try:
    runtime = Runtime(args.runtime)
    encoder = encoder_of(
        args.handle, runtime=runtime, say=lambda message: print(message, file=sys.stderr)
    )
except HaresError as error:
    parser.error(str(error))
print(in_words(encoder.interface))
length = round(args.seconds * encoder.sample_rate)
left_out = 0
with open(args.output, "w", newline="", encoding="utf-8") as file:
    table = csv.writer(file)
    table.writerow(["file", *(f"f{i}" for i in range(encoder.interface["embedding_size"]))])
    for path in paths:
        try:
            waveform = load_audio(path, encoder.sample_rate)
        except AudioError as error:
            left_out += 1
            print(f"left out: {error}", file=sys.stderr)
            continue
        windows = np.pad(waveform, (0, -len(waveform) % length)).reshape(-1, length)
        # Eight at a time: an hour must not need the memory of an hour at once.
        parts = [encoder.embed(windows[i : i + 8]) for i in range(0, len(windows), 8)]
        mean = np.concatenate(parts).mean(0)
        table.writerow([path.relative_to(args.audio).as_posix(), *map(float, mean)])
print(f"{args.output}: {len(paths) - left_out} recordings, {left_out} left out")
