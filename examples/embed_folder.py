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
from pathlib import Path
import sys

from hares_tf import HaresError
from hares_tf.evaluation import Interface, Runtime, open_encoder
from hares_tf.recordings import folder_source

flags = {"handle": "", "audio": "", "output": "", "seconds": 3.0, "runtime": "tensorflow"}
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
for name, default in (flags | {"sample_rate": 0}).items():
    parser.add_argument(f"--{name}", type=type(default), default=default, required=default == "")
args, embeddings = parser.parse_args(), {}
say = functools.partial(print, file=sys.stderr)
if not 0 < args.seconds <= 3600 or not Path(args.output).parent.is_dir():
    parser.error(f"no folder for {args.output}, or --seconds={args.seconds} not between 0 and 3600")
try:
    clips, interface = folder_source(args.audio).recordings, Interface(args.sample_rate or None)
    encoder = open_encoder(args.handle, interface, Runtime(args.runtime), on_fallback=say)
    print(encoder.description)
    for clip in clips:
        try:
            waveform = clip.sound.load(encoder.sample_rate)
        except HaresError as error:
            say(f"left out: {error}")
            continue
        embeddings[clip.id] = encoder.embed_recording(waveform, args.seconds, clip.id)
    if not embeddings:
        parser.error(f"{args.audio}: none of its {len(clips)} audio files can be decoded")
    with open(args.output, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", *(f"f{i}" for i in range(encoder.interface["embedding_size"]))])
        table.writerows([name, *map(float, values)] for name, values in embeddings.items())
except (HaresError, OSError) as error:
    parser.error(str(error))
print(f"{args.output}: {len(embeddings)} recordings, {len(clips) - len(embeddings)} left out")
