"""Embeddings of all recordings below a folder, as a table: one row each.

    python examples/embed_folder.py --handle=demo/tiny_simclr --audio=sounds --output=sounds.csv

Any Hub handle will do; --runtime=openvino is faster on a CPU. A recording is cut into windows of
--seconds, the last one filled with silence; its embedding is the mean of theirs:

    calls __call__: 304 features at 16000 Hz
    left out: The sound file 'sounds/broken.wav' is not a sound that can be decoded (...)
    sounds.csv: 400 recordings, 1 left out
"""

import argparse
import csv
import functools
import sys
from pathlib import Path

import numpy as np

from hares_tf.evaluation.embeddings.embedding import embed_batch
from hares_tf.evaluation.embeddings.windows import cut, window_samples
from hares_tf.evaluation.encoders.handle import Interface, Runtime, encoder_of, in_words
from hares_tf.recordings import folder_source
from hares_tf.utils.errors import HaresError
from hares_tf.utils.files import atomic_file

flags = {"handle": "", "audio": "", "output": "", "seconds": 3.0, "runtime": "tensorflow"}
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
for name, default in (flags | {"sample_rate": 0}).items():
    parser.add_argument(f"--{name}", type=type(default), default=default, required=default == "")
args, rows = parser.parse_args(), 0
say = functools.partial(print, file=sys.stderr)
if not 0 < args.seconds <= 3600 or not Path(args.output).parent.is_dir():
    parser.error(f"no folder for {args.output}, or --seconds={args.seconds} not between 0 and 3600")
try:
    clips, known = folder_source(args.audio).recordings, Interface(args.sample_rate or None)
    encoder = encoder_of(args.handle, interface=known, runtime=Runtime(args.runtime), say=say)
    print(in_words(encoder.interface))
    length = window_samples(args.seconds, encoder.sample_rate)
    with atomic_file(args.output) as draft, open(draft, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", *(f"f{i}" for i in range(encoder.interface["embedding_size"]))])
        for clip in clips:
            try:
                waveform = clip.sound.load(encoder.sample_rate)
            except HaresError as error:
                say(f"left out: {error}")
                continue
            windows = cut(waveform, np.arange(0, len(waveform), length), length)
            batches = (windows[i : i + 8] for i in range(0, len(windows), 8))  # saves memory
            parts = [embed_batch(encoder, batch, clip.id) for batch in batches]
            table.writerow([clip.id, *map(float, np.concatenate(parts).mean(0))])
            rows += 1
        if not rows:
            parser.error(f"{args.audio}: none of its {len(clips)} audio files can be decoded")
except (HaresError, OSError) as error:
    parser.error(str(error))
print(f"{args.output}: {rows} recordings, {len(clips) - rows} left out")
