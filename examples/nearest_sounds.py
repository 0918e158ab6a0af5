"""Which of one's own recordings sound most like a given one?

    python examples/embed_folder.py --handle=demo/tiny_simclr --audio=sounds --output=sounds.csv
    python examples/nearest_sounds.py --handle=demo/tiny_simclr --table=sounds.csv --query=dog.wav

The table is that of embed_folder.py, made with the same module and --seconds. Cosine similarity,
largest first:

    0.934  dog/1-100032-A.flac
    0.871  dog/1-110389-A.flac
"""

import argparse
import csv

import numpy as np

from hares_tf.audio import load_audio
from hares_tf.errors import HaresError
from hares_tf.evaluation import encoder_of

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
for name in ("handle", "table", "query"):
    parser.add_argument(f"--{name}", required=True)
for name, default in (("seconds", 3.0), ("top", 5)):
    parser.add_argument(f"--{name}", type=type(default), default=default)
args = parser.parse_args()
try:
    encoder = encoder_of(args.handle)
    waveform = load_audio(args.query, encoder.sample_rate)
    with open(args.table, newline="", encoding="utf-8") as file:
        names, rows = zip(*((row[0], row[1:]) for row in list(csv.reader(file))[1:]), strict=True)
    table = np.array(rows, np.float64)
except (HaresError, OSError) as error:
    parser.error(str(error))
except ValueError:
    parser.error(f"{args.table} is no table of embed_folder.py, or an empty one")
if table.shape[1] != encoder.interface["embedding_size"]:
    parser.error(f"{args.table} has {table.shape[1]} features: it was made with another module")
length = round(args.seconds * encoder.sample_rate)
windows = np.pad(waveform, (0, -len(waveform) % length)).reshape(-1, length)
parts = [encoder.embed(windows[i : i + 8]) for i in range(0, len(windows), 8)]
query = np.concatenate(parts).mean(0)
# What all recordings share says nothing about which are alike; without it the cosines spread out.
centre = table.mean(0)
table, query = table - centre, query - centre
norms = np.linalg.norm(table, axis=1) * np.linalg.norm(query)
similarity = table @ query / np.maximum(norms, 1e-12)
for index in np.argsort(-similarity)[: args.top]:
    print(f"{similarity[index]:.3f}  {names[index]}")
