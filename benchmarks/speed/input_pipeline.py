"""The input pipeline: clips of ten seconds from page-cached shards, beside a plain pipeline."""

import hashlib
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from timing import verdict

RATE = 16_000
CLIPS, CLIP_SECONDS, SHARDS = 2_000, 10, 8  # 640 MB
BATCH, STEPS = 64, 31  # together about all clips once
ROUNDS = 4


def write_shards(folder: Path) -> None:
    """Prepared clips of noise, in the format that `hares-prepare` writes."""
    import tensorflow as tf

    random = np.random.default_rng(0)
    offsets, shards = [], []
    for number in range(SHARDS):
        path = folder / f"clips.tfrecord-{number:05d}-of-{SHARDS:05d}"
        position = 0
        with tf.io.TFRecordWriter(str(path)) as writer:
            for clip in range(CLIPS // SHARDS):
                audio = random.integers(-(2**15), 2**15, CLIP_SECONDS * RATE, np.int16)
                values = {
                    "id": tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[f"{number}/{clip}".encode()])
                    ),
                    "audio": tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[audio.tobytes()])
                    ),
                    "sample_rate": tf.train.Feature(int64_list=tf.train.Int64List(value=[RATE])),
                    "labels": tf.train.Feature(
                        int64_list=tf.train.Int64List(value=[clip % 10, 10 + clip % 17])
                    ),
                }
                record = tf.train.Example(
                    features=tf.train.Features(feature=values)
                ).SerializeToString()
                writer.write(record)
                offsets.append(position)
                position += len(record) + 16
        shards.append(
            {
                "file": path.name,
                "clips": CLIPS // SHARDS,
                "samples": CLIPS // SHARDS * CLIP_SECONDS * RATE,
                "bytes": position,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
        )
    np.save(folder / "offsets.npy", np.array(offsets, np.int64))
    sidecar = {
        "schema": 1,
        "name": "noise",
        "sample_rate": RATE,
        "encoding": "int16 little-endian",
        "n_clips": CLIPS,
        "samples": CLIPS * CLIP_SECONDS * RATE,
        "label_names": [f"label {number}" for number in range(27)],
        "source": {"kind": "noise"},
        "content_hash": hashlib.sha256(
            "\n".join(shard["sha256"] for shard in shards).encode()
        ).hexdigest(),
        "shards": shards,
        "rejected": [],
        "made_with": {},
    }
    (folder / "clips.json").write_text(json.dumps(sidecar))


def plain_pipeline(folder: Path, views: int, samples: int):
    """What one writes first: records, parsed, decoded, cropped, batched, with two threads."""
    import tensorflow as tf

    def crop(record):
        features = {
            "audio": tf.io.FixedLenFeature([], tf.string),
            "labels": tf.io.VarLenFeature(tf.int64),
        }
        example = tf.io.parse_single_example(record, features)
        audio = tf.io.decode_raw(example["audio"], tf.int16)
        return tf.stack([tf.image.random_crop(audio, [samples]) for _ in range(views)])

    files = sorted(str(path) for path in folder.glob("clips.tfrecord-*"))
    dataset = tf.data.Dataset.from_tensor_slices(files).repeat()
    dataset = dataset.interleave(tf.data.TFRecordDataset, cycle_length=4, num_parallel_calls=2)
    dataset = dataset.shuffle(256, seed=0)
    dataset = dataset.map(crop, num_parallel_calls=2).batch(BATCH, drop_remainder=True)
    return dataset.prefetch(1)


def measure(iterator) -> np.ndarray:
    """Clips a second, and clips a CPU second of this process, over STEPS batches."""
    started, used = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        next(iterator)
    seconds = np.array([time.perf_counter() - started, time.process_time() - used])
    return STEPS * BATCH / seconds


def peak_megabytes() -> float:
    """The most memory this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    import tensorflow as tf

    from hares_tf.data.clip_set import open_clips
    from hares_tf.data.reader import Crops, batches

    tf.config.threading.set_inter_op_parallelism_threads(2)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_shards(folder)
        clips = open_clips(folder)
        before = peak_megabytes()
        for views, name in ((2, "two views"), (1, "one view and labels")):
            crops = Crops(views=views, seconds=3.0)
            dataset = batches(clips, crops, replica_batch=BATCH, seed=0, labels=views == 1)
            ours = iter(dataset)
            measure(ours)  # the shards come into the page cache
            if views == 2:
                once = peak_megabytes()
                for _ in range(ROUNDS):
                    measure(ours)
                print(
                    f"     memory: {once - before:.0f} MB for the first {STEPS * BATCH} clips, "
                    f"{peak_megabytes() - once:.0f} MB more for {ROUNDS} times as many"
                )
            plain = iter(plain_pipeline(folder, views, crops.samples))
            measure(plain)
            turns = np.array([(measure(ours), measure(plain)) for _ in range(ROUNDS)])
            (wall, cpu), (plain_wall, plain_cpu) = np.median(turns, axis=0)
            print(
                f"     {name}: {wall:.0f} clips/s, {cpu:.0f} a CPU second; plain pipeline: "
                f"{plain_wall:.0f} clips/s, {plain_cpu:.0f} a CPU second"
            )
            # The machine may be busy with other work: CPU time tells what two idle cores do.
            verdict(f"input pipeline, {name}, on two cores", 2 * cpu, 1500, " clips/s")
            verdict(
                f"input pipeline, {name}, clips a CPU second over the plain pipeline's",
                float(np.median(turns[:, 0, 1] / turns[:, 1, 1])),
                0.8,  # what a pure function of the step may cost
            )


if __name__ == "__main__":
    main()
