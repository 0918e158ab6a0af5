r"""The recordings of a table that sound most like a given one.

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

from hares_tf import HaresError
from hares_tf.evaluation import Interface, open_encoder
import numpy as np

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
    encoder = open_encoder(args.handle, Interface(args.sample_rate))
    query = encoder.embed_file(args.query, args.seconds)
    with open(args.table, newline="", encoding="utf-8") as file:
        lines = [row for row in csv.reader(file) if row]
    names, rows = zip(*((row[0], row[1:]) for row in lines[1:]), strict=True)
    table = np.array(rows, np.float64)
except (HaresError, OSError) as error:
    parser.error(str(error))
except (ValueError, csv.Error):
    parser.error(f"{args.table} is not a table of embed_folder.py, or it is empty")
if table.shape[1] != len(query):
    parser.error(f"{args.table} has {table.shape[1]} features: it was made with another module")
# The mean of all recordings says nothing about which are alike; without it the cosines differ more.
center = table.mean(0)
table, query = table - center, query - center
norms = np.linalg.norm(table, axis=1) * np.linalg.norm(query)
similarity = table @ query / np.maximum(norms, 1e-12)
for index in np.argsort(-similarity)[: args.top]:
    print(f"{similarity[index]:.3f}  {names[index]}")
