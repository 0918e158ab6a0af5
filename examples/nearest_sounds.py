r"""Which of one's own recordings sound most like a given one?

    python examples/embed_folder.py --handle=demo/tiny_simclr --audio=sounds --output=sounds.csv
    python examples/nearest_sounds.py --handle=demo/tiny_simclr --table=sounds.csv \
        --query=sounds/dog/1-100032-A.flac --top=3

The table is that of embed_folder.py, made with the same module and --seconds. Cosine similarity,
largest first; the query itself is in this table, and most of these clips is silence:

    1.000  dog/1-100032-A.flac
    0.999  dog/1-110389-A.flac
    0.998  sneezing/5-221593-A.flac
"""

import argparse
import csv

import numpy as np

from hares_tf.audio import load_audio
from hares_tf.evaluation import Interface, encoder_of
from hares_tf.evaluation.embeddings.embedding import embed_batch
from hares_tf.evaluation.embeddings.windows import cut, window_samples
from hares_tf.utils.errors import HaresError

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
for name in ("handle", "table", "query"):
    parser.add_argument(f"--{name}", required=True)
# --sample_rate is for a module that does not say what it expects.
for name, default in (("seconds", 3.0), ("top", 5), ("sample_rate", None)):
    parser.add_argument(f"--{name}", type=type(default or 0), default=default)
args = parser.parse_args()
if not 0 < args.seconds <= 3600 or args.top < 1:
    parser.error("--seconds must be between 0 and 3600, --top at least 1")
try:
    encoder = encoder_of(args.handle, interface=Interface(args.sample_rate))
    waveform = load_audio(args.query, encoder.sample_rate)
    length = window_samples(args.seconds, encoder.sample_rate)
    windows = cut(waveform, np.arange(0, len(waveform), length), length)
    batches = [windows[i : i + 8] for i in range(0, len(windows), 8)]
    query = np.concatenate([embed_batch(encoder, batch, args.query) for batch in batches]).mean(0)
    with open(args.table, newline="", encoding="utf-8") as file:
        lines = [row for row in csv.reader(file) if row]
    names, rows = zip(*((row[0], row[1:]) for row in lines[1:]), strict=True)
    table = np.array(rows, np.float64)
except (HaresError, OSError) as error:
    parser.error(str(error))
except (ValueError, csv.Error):
    parser.error(f"{args.table} is no table of embed_folder.py, or an empty one")
if table.shape[1] != len(query):
    parser.error(f"{args.table} has {table.shape[1]} features: it was made with another module")
# What all recordings share says nothing about which are alike; without it the cosines spread out.
centre = table.mean(0)
table, query = table - centre, query - centre
norms = np.linalg.norm(table, axis=1) * np.linalg.norm(query)
similarity = table @ query / np.maximum(norms, 1e-12)
for index in np.argsort(-similarity)[: args.top]:
    print(f"{similarity[index]:.3f}  {names[index]}")
