"""The reader: which clips a step reads, how they are cropped, and what may go wrong."""

import collections
import dataclasses
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from hares_tf.data import schedule
from hares_tf.data.clip_set import open_clips
from hares_tf.data.errors import DataError
from hares_tf.data.reader import Crops, batches, clips_of_step, explain, steps_per_epoch

RATE = 16_000


def example(number: int, samples: np.ndarray, labels=()) -> bytes:
    def feature(**value):
        return tf.train.Feature(**value)

    values = {
        "id": feature(bytes_list=tf.train.BytesList(value=[b"%d" % number])),
        "audio": feature(bytes_list=tf.train.BytesList(value=[samples.astype("<i2").tobytes()])),
        "sample_rate": feature(int64_list=tf.train.Int64List(value=[RATE])),
        "labels": feature(int64_list=tf.train.Int64List(value=labels)),
    }
    return tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString()


def write_clips(folder, shards, label_names=(), **changes):
    """Writes the format: `shards` is a list of lists of (samples, labels)."""
    folder.mkdir(exist_ok=True)
    offsets, rows, number = [], [], 0
    for index, shard in enumerate(shards):
        name, position = f"clips.tfrecord-{index:05d}-of-{len(shards):05d}", 0
        with tf.io.TFRecordWriter(str(folder / name)) as writer:
            for samples, labels in shard:
                record = example(number, samples, labels)
                writer.write(record)
                offsets.append(position)
                position += len(record) + 16
                number += 1
        total = sum(len(samples) for samples, _ in shard)
        rows.append(
            {"file": name, "clips": len(shard), "samples": total, "bytes": position, "sha256": ""}
        )
    np.save(folder / "offsets.npy", np.array(offsets, np.int64))
    sidecar = {
        "schema": 1,
        "name": "test",
        "sample_rate": RATE,
        "n_clips": number,
        "samples": sum(row["samples"] for row in rows),
        "label_names": list(label_names),
        "source": {"kind": "test"},
        "content_hash": "hash",
        "shards": rows,
        "rejected": [{"id": "bad.wav", "reason": "no sound"}],
        **changes,
    }
    (folder / "clips.json").write_text(json.dumps(sidecar))
    return folder


def ramp(number: int, length: int) -> np.ndarray:
    """Samples that tell their clip and their position; for lengths of up to 100."""
    return 100 * number + np.arange(length)


def ramps(counts, length=8):
    """Shards of clips of one length."""
    numbers = iter(range(sum(counts)))
    return [[(ramp(next(numbers), length), ()) for _ in range(count)] for count in counts]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """62 clips of 8 samples in shards of 37, 5 and 20."""
    return open_clips(write_clips(tmp_path_factory.mktemp("clips") / "set", ramps([37, 5, 20])))


def crops(samples: int = 5, **options) -> Crops:
    return Crops(seconds=samples / RATE, **options)


def read(clip_set, some_crops, steps, *, replicas=1, **arguments):
    """Steps as dicts of arrays, the replicas' batches after each other."""
    dataset = batches(clip_set, some_crops, replicas=replicas, **arguments)
    elements = list(dataset.take(steps * replicas).as_numpy_iterator())
    return [
        {
            name: np.concatenate([element[name] for element in elements[first : first + replicas]])
            for name in elements[0]
        }
        for first in range(0, len(elements), replicas)
    ]


# Which clips


def test_hosts_read_every_clip_once_an_epoch(clips):
    epochs = 12
    sizes = {"replica_batch": 3, "replicas": 2, "hosts": 3, "block_clips": 4}
    steps = steps_per_epoch(clips, **sizes)
    assert steps == 3  # the smallest host has 18 to 20 of the 62 clips, a step takes 6
    owned = []
    for host in range(3):
        found = read(clips, crops(), epochs * steps, seed=1, host=host, **sizes)
        numbers = np.array([step["clip"] for step in found]).reshape(epochs, steps * 6)
        assert all(len(set(epoch)) == steps * 6 for epoch in numbers)
        owned.append(set(numbers.ravel()))
    # The left-overs are others in each epoch: in twelve epochs each clip was read by one host.
    assert sorted(number for part in owned for number in part) == list(range(62))
    assert max(map(len, owned)) - min(map(len, owned)) <= 4


def test_left_overs_and_order_change_with_epoch_and_seed(clips):
    def epoch(number, seed):
        arguments = {"replica_batch": 8, "seed": seed, "block_clips": 4}
        steps = [clips_of_step(clips, 7 * number + step, **arguments) for step in range(7)]
        return np.concatenate(steps)

    read_once = [epoch(number, seed) for number in range(3) for seed in (0, 1)]
    assert all(len(set(numbers)) == 56 for numbers in read_once)
    left_over = [frozenset(range(62)) - set(numbers) for numbers in read_once]
    assert len(set(left_over)) == 6
    for one in range(6):
        for other in range(one):
            assert (read_once[one] == read_once[other]).mean() < 0.15


def test_neighbors_stay_together_as_blocks(clips):
    """What makes reading fast: an epoch is a sequence of whole blocks, each in a random order."""
    numbers = np.concatenate(
        [clips_of_step(clips, step, replica_batch=1, seed=0, block_clips=4) for step in range(62)]
    )
    blocks = schedule.all_blocks(clips, 4)
    owner = np.repeat(np.arange(len(blocks.clips)), blocks.clips)[numbers]
    assert (np.diff(owner) != 0).sum() == len(blocks.clips) - 1
    assert blocks.clips.tolist() == [4] * 9 + [1, 4, 1] + [4] * 5
    assert not all(np.all(np.diff(numbers[owner == row]) > 0) for row in set(owner))


@pytest.mark.parametrize("n", [3, 16])
def test_orders_are_uniform(n):
    """Each value at each place equally often, by chi-square."""
    epochs = 600
    zero = tf.zeros([], tf.int64)
    found = np.array(
        [
            schedule.random_order(7, tf.constant(epoch, tf.int64), 0, zero, zero + n).numpy()
            for epoch in range(epochs)
        ]
    )
    counts = np.array([np.bincount(found[:, place], minlength=n) for place in range(n)])
    expected = epochs / n
    degrees = (n - 1) ** 2
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - degrees) < 4 * np.sqrt(2 * degrees)


def test_first_step_is_skipping(clips):
    """Ten steps an epoch, 6 clips a step: steps begin within blocks of 4."""
    sizes = {"replica_batch": 3, "replicas": 2, "seed": 5, "block_clips": 4}
    assert steps_per_epoch(clips, 3, 2, block_clips=4) == 10
    whole = read(clips, crops(), 36, **sizes)
    for first in (1, 9, 10, 23):
        resumed = read(clips, crops(), 12, first_step=first, **sizes)
        for expected, step in zip(whole[first : first + 12], resumed, strict=True):
            np.testing.assert_array_equal(step["clip"], expected["clip"])
            np.testing.assert_array_equal(step["audio"], expected["audio"])


def test_clips_of_step_tells_what_is_read(clips):
    sizes = {"replica_batch": 2, "replicas": 3, "seed": 11, "host": 1, "hosts": 2, "block_clips": 5}
    for number, step in enumerate(read(clips, crops(), 14, **sizes)):
        np.testing.assert_array_equal(step["clip"], clips_of_step(clips, number, **sizes))


def test_resuming_reads_only_blocks_it_needs(clips, tmp_path):
    """With every other block spoilt, the step still comes."""
    folder = write_clips(tmp_path / "set", ramps([37, 5, 20]))
    copy = open_clips(folder)
    sizes = {"replica_batch": 6, "seed": 2, "block_clips": 4}
    needed = set(clips_of_step(copy, 7, **sizes))
    blocks = schedule.all_blocks(copy, 4)
    for shard, first, count in zip(blocks.shard, blocks.first, blocks.clips, strict=True):
        numbers = range(first, first + count)
        if needed.isdisjoint(numbers):
            spoil(copy, shard, numbers)
    (step,) = read(copy, crops(), 1, first_step=7, **sizes)
    assert set(step["clip"]) == needed
    with pytest.raises(tf.errors.DataLossError):
        read(copy, crops(), 3, first_step=7, **sizes)


def spoil(clip_set, shard, numbers):
    with open(clip_set.path(clip_set.shards[shard]), "r+b") as file:
        for number in numbers:
            file.seek(clip_set.offsets[number] + 20)
            file.write(b"spoilt")


def test_long_recordings_make_shorter_blocks(clips, monkeypatch):
    record = clips.offsets[1]
    monkeypatch.setattr(schedule, "MAX_BLOCK_BYTES", 3 * int(record) + 5)
    blocks = schedule.all_blocks(clips, 16)
    assert blocks.clips.max() == 3
    assert blocks.clips.sum() == 62
    np.testing.assert_array_equal(blocks.first, np.cumsum(blocks.clips) - blocks.clips)
    np.testing.assert_array_equal(blocks.offset, clips.offsets[blocks.first])
    monkeypatch.setattr(schedule, "MAX_BLOCK_BYTES", 1)
    assert schedule.all_blocks(clips, 16).clips.tolist() == [1] * 62


def test_what_is_read_is_written_down(clips):
    """Resumed runs rely on these numbers: a change of them is a change of the format."""
    sizes = {"replica_batch": 4, "replicas": 2, "seed": 42, "hosts": 2, "block_clips": 5}
    assert clips_of_step(clips, 0, host=0, **sizes).tolist() == [54, 56, 52, 53, 55, 1, 3, 2]
    assert clips_of_step(clips, 10, host=1, **sizes).tolist() == [38, 39, 51, 48, 47, 50, 49, 57]
    (step,) = read(clips, crops(), 1, host=0, first_step=3, **sizes)
    assert step["clip"].tolist() == [36, 35, 45, 46, 44, 43, 42, 56]
    starts = step["audio"][:, :, 0] - 100 * step["clip"][:, np.newaxis]
    assert starts.T.tolist() == [[2, 2, 0, 1, 1, 3, 1, 3], [1, 3, 3, 0, 0, 3, 3, 1]]


# How they are cropped


def test_crops_are_runs_of_the_clip_at_uniform_independent_places(clips):
    """8 samples give 4 places to 5; 62 clips x 20 epochs."""
    found = read(clips, crops(), 40, replica_batch=31, seed=0)
    audio = np.concatenate([step["audio"] for step in found]).astype(int)
    number = np.concatenate([step["clip"] for step in found])
    starts = audio[:, :, 0] - 100 * number[:, np.newaxis]
    np.testing.assert_array_equal(audio, audio[:, :, :1] + np.arange(5))
    pairs = collections.Counter(map(tuple, starts))
    assert set(pairs) == {(one, other) for one in range(4) for other in range(4)}
    expected = len(starts) / 16
    # 15 degrees of freedom: above 40 in one of 2000 cases.
    assert sum((count - expected) ** 2 / expected for count in pairs.values()) < 40
    # The same clip's places in successive epochs are independent, too.
    by_clip = {one: starts[number == one, 0] for one in range(62)}
    moves = collections.Counter(
        (int(a), int(b)) for s in by_clip.values() for a, b in itertools.pairwise(s)
    )
    expected = 62 * 19 / 16
    assert sum((count - expected) ** 2 / expected for count in moves.values()) < 40


def test_crops_do_not_depend_on_what_is_read_with_them(clips):
    def of_clips(views=2, **sizes):
        sizes = {"hosts": 1, **sizes}
        steps = steps_per_epoch(clips, 2, 1, sizes["hosts"], sizes["block_clips"])
        found = read(clips, crops(views=views), steps, replica_batch=2, seed=9, **sizes)
        return {
            int(number): audio.tolist()
            for step in found
            for number, audio in zip(step["clip"], step["audio"], strict=True)
        }

    whole = of_clips(block_clips=16)
    assert len(whole) == 62
    assert of_clips(block_clips=1) == whole
    part = of_clips(block_clips=4, host=1, hosts=2, parallel_blocks=1)
    assert part == {number: whole[number] for number in part}
    one_view = of_clips(block_clips=16, views=1)
    assert one_view == {number: audio[:1] for number, audio in whole.items()}
    three_views = of_clips(block_clips=16, views=3)
    assert len({tuple(view) for view in three_views[0]}) > 1


@pytest.mark.parametrize(("pad", "fraction"), [("zeros", 1.0), ("zeros", 0.6), ("repeat", 0.6)])
def test_short_clips_are_filled_at_their_end(tmp_path, pad, fraction):
    lengths = [0, 1, 2, 3, 5, 7, 8, 9, 40]
    shard = [(ramp(number + 1, length), ()) for number, length in enumerate(lengths)]
    folder = write_clips(tmp_path / "short", [shard])
    some = crops(7, pad=pad, fraction=fraction)
    seen = collections.defaultdict(set)
    for step in read(open_clips(folder), some, 30, replica_batch=len(lengths), seed=0):
        for number, views in zip(step["clip"], step["audio"], strict=True):
            length = lengths[number]
            run = min(7, max(1, int(fraction * length))) if length else 0
            for view in views.astype(int):
                start = view[0] - 100 * (number + 1) if run else 0
                seen[length].add(start)
                part = ramp(number + 1, length)[start : start + run]
                if run == 0:
                    expected = np.zeros(7)
                elif pad == "zeros":
                    expected = np.concatenate([part, np.zeros(7 - run)])
                else:
                    expected = np.resize(part, 7)
                assert len(part) == run
                np.testing.assert_array_equal(view, expected)
    for length in (1, 2, 3, 5, 7, 8, 9):
        assert seen[length] == set(range(length - min(7, max(1, int(fraction * length))) + 1))


def test_labels_are_multi_hot(tmp_path):
    labels = [[0], [1, 3], [], [0, 1, 2, 3], [2]]
    shard = [(ramp(number, 8), chosen) for number, chosen in enumerate(labels)]
    clip_set = open_clips(write_clips(tmp_path / "set", [shard[:2], shard[2:]], "abcd"))
    expected = np.zeros((5, 4))
    for row, chosen in enumerate(labels):
        expected[row, chosen] = 1
    for step in read(clip_set, crops(), 4, replica_batch=5, seed=0, labels=True):
        assert step["labels"].dtype == np.float32
        np.testing.assert_array_equal(step["labels"], expected[step["clip"]])
    (step,) = read(clip_set, crops(), 1, replica_batch=5, seed=0)
    assert set(step) == {"audio", "clip"}


# The pipeline


def test_shapes_are_static(tmp_path):
    clip_set = open_clips(write_clips(tmp_path / "set", ramps([6]), "abc"))
    dataset = batches(clip_set, crops(views=3, pad="repeat"), replica_batch=2, seed=0, labels=True)
    assert dataset.element_spec == {
        "audio": tf.TensorSpec([2, 3, 5], tf.int16),
        "clip": tf.TensorSpec([2], tf.int64),
        "labels": tf.TensorSpec([2, 3], tf.float32),
    }


def test_seconds_make_samples():
    assert Crops().samples == 48_000
    assert Crops(seconds=0.5, sample_rate=22_050).samples == 11_025


def operations(dataset) -> set[str]:
    serialized = tf.raw_ops.DatasetToGraphV2(input_dataset=dataset._variant_tensor)
    graph = tf.compat.v1.GraphDef.FromString(serialized.numpy())
    functions = [node for function in graph.library.function for node in function.node_def]
    return {node.op for node in [*graph.node, *functions]}


def test_pipeline_is_plain_tensorflow(tmp_path):
    """Nothing that needs this process, nothing that has a state."""
    forbidden = ("PyFunc", "Generator", "RandomUniformInt", "ShuffleDataset", "RandomSeed")

    def found(dataset):
        return {op for op in operations(dataset) for name in forbidden if name in op}

    generated = tf.data.Dataset.from_generator(
        lambda: iter([1]), output_signature=tf.TensorSpec([], tf.int32)
    )
    assert any("PyFunc" in op for op in found(generated))
    clip_set = open_clips(write_clips(tmp_path / "set", ramps([6]), "abc"))
    ours = batches(clip_set, crops(pad="repeat"), replica_batch=2, seed=0, labels=True)
    assert "TFRecordDatasetV2" in operations(ours)
    assert found(ours) == set()


def test_two_runs_are_equal(clips):
    arguments = {"replica_batch": 4, "seed": 3, "block_clips": 4}
    one = read(clips, crops(), 20, parallel_blocks=4, **arguments)
    other = read(clips, crops(), 20, parallel_blocks=1, **arguments)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left["clip"], right["clip"])
        np.testing.assert_array_equal(left["audio"], right["audio"])


# What may go wrong


def test_clip_set_tells_what_it_holds(clips):
    assert (clips.name, clips.n_clips, clips.sample_rate, clips.rejected) == ("test", 62, RATE, 1)
    assert clips.seconds == pytest.approx(62 * 8 / RATE)
    assert [shard.clips for shard in clips.shards] == [37, 5, 20]


def rewrite(folder, **changes):
    sidecar = json.loads((folder / "clips.json").read_text())
    (folder / "clips.json").write_text(json.dumps({**sidecar, **changes}))


def first_shard(folder):
    return min(folder.glob("clips.tfrecord-*"))


BREAKAGES = {
    "no prepared clips .no clips.json.*hares-prepare": lambda f: (f / "clips.json").unlink(),
    "is not JSON": lambda f: (f / "clips.json").write_text("{"),
    "does not describe clips": lambda f: (f / "clips.json").write_text("[1]"),
    "which schema": lambda f: rewrite(f, schema=None),
    "has schema 2.*update hares-tf": lambda f: rewrite(f, schema=2),
    "not a complete description": lambda f: rewrite(f, shards=[{"file": "a"}]),
    "counts 3 clips.*together 4": lambda f: rewrite(f, n_clips=3),
    "is missing or unreadable": lambda f: first_shard(f).unlink(),
    "bytes instead of": lambda f: first_shard(f).write_bytes(first_shard(f).read_bytes()[:-1]),
    "offsets.npy cannot be read": lambda f: (f / "offsets.npy").unlink(),
    "offsets.npy is damaged": lambda f: (f / "offsets.npy").write_bytes(b"no array"),
    "not a list of byte offsets": lambda f: np.save(f / "offsets.npy", np.zeros(4)),
    "has 3 offsets for 4 clips": lambda f: np.save(f / "offsets.npy", np.arange(3) * 90),
    "do not follow each other": lambda f: np.save(f / "offsets.npy", np.array([0, 90, 80, 270])),
}


@pytest.mark.parametrize("message", BREAKAGES)
def test_broken_folders_are_refused(tmp_path, message):
    folder = write_clips(tmp_path / "set", ramps([4]))
    open_clips(folder)
    BREAKAGES[message](folder)
    with pytest.raises(DataError, match=message):
        open_clips(folder)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="There is no folder"):
        open_clips(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no clips .1 recordings were rejected"):
        open_clips(write_clips(tmp_path / "empty", []))
    folder = write_clips(tmp_path / "set", ramps([4]))
    (row,) = json.loads((folder / "clips.json").read_text())["shards"]
    rewrite(folder, shards=[{**row, "file": "../set/" + row["file"]}])
    with pytest.raises(DataError, match="outside its folder"):
        open_clips(folder)


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        ("One step takes 70 clips.*has 62 clips: take a smaller", {"replica_batch": 70}),
        ("smallest of 4 hosts", {"replica_batch": 20, "hosts": 4}),
        ("host must be from 0 to 1", {"host": 2, "hosts": 2}),
        ("number of hosts must be at least 1", {"hosts": 0}),
        ("replicas must be at least 1", {"replicas": 0}),
        ("replica_batch must be at least 1", {"replica_batch": 0}),
        ("block_clips must be at least 1", {"block_clips": 0}),
        ("no step -1", {"first_step": -1}),
        ("has no labels", {"labels": True}),
    ],
)
def test_impossible_batches_are_refused(clips, message, changes):
    with pytest.raises(DataError, match=message):
        batches(clips, crops(), **{"replica_batch": 4, "seed": 0, **changes})


def test_impossible_crops_are_refused(clips):
    with pytest.raises(DataError, match="has 16000 Hz, but 8000 Hz are asked for"):
        batches(clips, Crops(sample_rate=8000), replica_batch=4, seed=0)
    for message, options in [
        ("number of views must be at least 1", {"views": 0}),
        ("at least one sample", {"seconds": 0.0}),
        ("at least one sample", {"seconds": float("nan")}),
        ("fraction", {"fraction": 0.0}),
        ("fraction", {"fraction": 1.5}),
        ("must be .zeros. or .repeat", {"pad": "mirror"}),
    ]:
        with pytest.raises(DataError, match=message):
            Crops(**options)
    assert dataclasses.replace(Crops(), views=1).views == 1


@pytest.mark.parametrize("damage", ["truncated", "removed", "spoilt"])
def test_shards_that_break_under_way_are_named(tmp_path, damage):
    clip_set = open_clips(write_clips(tmp_path / "set", ramps([4, 4])))
    path = tmp_path / "set" / clip_set.shards[1].file
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[: clip_set.offsets[7]])  # at a record's end
    elif damage == "removed":
        path.unlink()
    else:
        spoil(clip_set, 1, [6])
    with pytest.raises(tf.errors.OpError) as raised:
        read(clip_set, crops(), 2, replica_batch=8, seed=0)
    explained = explain(raised.value, clip_set)
    assert isinstance(explained, DataError)
    assert str(path) in str(explained)
