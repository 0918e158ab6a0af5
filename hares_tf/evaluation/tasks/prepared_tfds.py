"""Reads data sets that tensorflow-datasets has prepared, in place.

Whoever has a `data_dir` of tensorflow-datasets need not fetch and unpack NSynth, VoxForge,
VoxCeleb or Speech Commands again. Its record files are made to be read from their beginning; an
evaluation reads clips at random. So an index is made once: where in which file the samples of an
example lie, and its labels. In TFRecord files the samples are skipped, not read; ArrayRecord files
are compressed and read whole. The index is kept in the cache folder; with it, neither
tensorflow-datasets nor TensorFlow is imported.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import Clip, Manifest, Places
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.recordings.tfds_records import (
    AGAIN,
    BYTES,
    FLOATS,
    INTEGERS,
    TfdsSound,
    features,
    records,
    varint,
)
from hares_tf.utils.cache import cache_dir
from hares_tf.utils.files import atomic_file
from hares_tf.utils.tensorflow import import_tensorflow

_INDEX_VERSION = 1
_PARTS = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}
# All four data sets are published at 16 kHz; old versions of the builders do not state it.
_SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Builder:
    """A builder of tensorflow-datasets.

    Attributes:
        name: its name, with its configuration where it has several ("nsynth/full").
        labels: the features that tasks take labels from.
        id: the feature that names an example; without one, examples are numbered within a split.
        notes: how its examples differ from the data set as published, as sentences.
    """

    name: str
    labels: tuple[str, ...] = ("label",)
    id: str = ""
    notes: tuple[str, ...] = ()


NSYNTH = Builder("nsynth/full", ("instrument/family", "pitch"), "id")
SPEECH_COMMANDS = Builder(
    "speech_commands",
    notes=(
        "the builder speech_commands leaves out recordings that it could not decode, in silence",
    ),
)
VOXFORGE = Builder("voxforge")
VOXCELEB = Builder(
    "voxceleb",
    notes=(
        "the builder voxceleb reads vox_dev_wav.zip only and leaves out what is not in there: "
        "134,000/6,670/7,972 clips of 1,211 speakers, unless the 40 speakers of vox_test_wav.zip "
        "were added to the archive",
    ),
)


def read_prepared(
    places: Places,
    builder: Builder,
    labels: Labels,
    feature: str = "label",
    rename: Callable[[str], str] = str,
) -> Manifest | None:
    """Returns the clips of a prepared data set, or None if there is none.

    Args:
        places: `tfds_dir` is looked in.
        builder: one of the builders above.
        labels: the label space of the task.
        feature: the label's feature, one of `builder.labels`.
        rename: makes the task's label from the builder's name of a class.

    Raises:
        EvaluationError: the data set is damaged, stored in a format that cannot be read at
            random, or has a label that `labels` has not.
    """
    folder = _prepared_folder(places, builder.name)
    if folder is None:
        return None
    index = _index(folder, builder)
    names = [rename(name) for name in index["names"][feature]]
    paths = [str(folder / file) for file in index["files"]]
    column = builder.labels.index(feature)
    known = frozenset(labels.names)
    clips = []
    for split, examples in index["splits"].items():
        for number, (file, record, offset, size, whole, name, *values) in enumerate(examples):
            label = names[values[column]]
            if label not in known:
                raise EvaluationError(
                    f"{folder}: {feature} of {split} example {number} is {label!r}, which is none "
                    f"of the task's {len(known)} labels."
                )
            sound = TfdsSound(paths[file], record, offset, size, whole, index["rate"])
            clips.append(Clip(name or f"{split}/{number}", sound, label, _PARTS[split]))
    if not clips:
        raise EvaluationError(f"{folder} has no examples: prepare the data set again.")
    source = f"read from the prepared data set {builder.name}/{folder.name} of tensorflow-datasets"
    return Manifest(tuple(clips), labels, notes=(source, *builder.notes))


def speech_commands(places: Places, labels: Labels) -> Manifest | None:
    """Reads Speech Commands with 12 labels, which keep the builder's names (`read_prepared`)."""
    return read_prepared(places, SPEECH_COMMANDS, labels)


def voxforge(places: Places, labels: Labels) -> Manifest | None:
    """Reads VoxForge; labels are the languages "de", "en", "es", "fr", "it", "ru"."""
    return read_prepared(places, VOXFORGE, labels)


def voxceleb(places: Places, labels: Labels) -> Manifest | None:
    """Reads VoxCeleb1; labels are the speakers "id10001" to "id11251".

    The builder's class n is the speaker id10000 + n; its class 0 is never used.
    """
    return read_prepared(places, VOXCELEB, labels, rename=lambda name: f"id{10_000 + int(name)}")


def _prepared_folder(places: Places, name: str) -> Path | None:
    """Returns the folder of the newest finished version of a data set, or None."""
    if places.tfds_dir is None:
        return None
    root = Path(os.path.abspath(places.tfds_dir))
    if not root.is_dir():
        raise EvaluationError(
            f"The data_dir of tensorflow-datasets {root} is not a folder: --tfds_dir names the one "
            "that holds a folder per builder, usually ~/tensorflow_datasets."
        )
    versions = [
        (tuple(map(int, folder.name.split("."))), folder)
        for folder in root.glob(f"{name}/*.*.*")
        # Unfinished ones are called incomplete.XXXXXX_1.0.0.
        if re.fullmatch(r"\d+\.\d+\.\d+", folder.name) and (folder / "dataset_info.json").is_file()
    ]
    return max(versions)[1] if versions else None


def _index(folder: Path, builder: Builder) -> dict:
    """Returns the index of a prepared data set, from the cache if it is there."""
    with os.scandir(folder) as entries:
        states = sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in entries)
    key = [_INDEX_VERSION, str(folder), builder.labels, builder.id, states]
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
    cached = cache_dir() / "tfds" / f"{name}.json"
    # A cache that cannot be read or written costs time at every run, nothing else.
    with suppress(OSError, ValueError):
        return json.loads(cached.read_text())
    index = _make_index(folder, builder)
    with suppress(OSError), atomic_file(cached) as temporary:
        temporary.write_text(json.dumps(index, separators=(",", ":")))
    return index


def _make_index(folder: Path, builder: Builder) -> dict:
    """Reads all record files once.

    Returns:
        JSON data. `rate`: of the samples, in Hz. `names`: the class names of every feature with
        labels. `files`: the names of the record files. `splits`: by split, per example
        [file number, record, offset, size, integers, id, *class numbers]; see `TfdsSound`.
    """
    try:
        import_tensorflow()  # before tensorflow_datasets does
        import tensorflow_datasets

        info = tensorflow_datasets.builder_from_directory(folder).info
        audio = info.features["audio"]
        names = {label: _feature(info.features, label).names for label in builder.labels}
        shards = {
            split: list(
                zip(info.splits[split].filepaths, info.splits[split].shard_lengths, strict=True)
            )
            for split in info.splits
            if split in _PARTS
        }
    except Exception as error:  # the library raises all kinds
        raise EvaluationError(
            f"{folder} is not a data set that tensorflow-datasets can open ({error}); prepare it "
            "again."
        ) from error
    if len(audio.shape) != 1:
        raise EvaluationError(f"{folder}: audio has the shape {audio.shape}, not one channel.")
    files: list[str] = []
    splits: dict[str, list] = {split: [] for split in shards}
    for split, pairs in shards.items():
        for path, length in pairs:
            found = [[len(files), *example] for example in _examples(Path(path), builder, names)]
            if len(found) != length:
                raise EvaluationError(f"{path} has {len(found)} of {length} examples; {AGAIN}.")
            files.append(path.name)
            splits[split].extend(found)
    rate = getattr(audio, "sample_rate", None) or _SAMPLE_RATE
    return {"rate": rate, "names": names, "files": files, "splits": splits}


def _feature(features, path: str):
    for part in path.split("/"):
        features = features[part]
    return features


def _examples(path: Path, builder: Builder, names: dict[str, list[str]]) -> Iterator[list]:
    """[record, offset, size, integers, id, *class numbers] of every example in a file."""
    wanted = {"audio", *builder.labels, *filter(None, [builder.id])}
    try:
        for record, data, start, stop in records(path):
            found = features(data, start, stop, wanted)
            kind, offset, end = found["audio"]
            if kind == BYTES or (kind == FLOATS and (end - offset) % 4):
                raise ValueError("its audio is not stored as samples")
            example = [record, offset, end - offset, kind == INTEGERS, ""]
            if builder.id:
                _, begin, end = found[builder.id]
                example[-1] = str(data[begin:end], "utf-8")
            for label in builder.labels:
                kind, begin, end = found[label]
                number = varint(data, begin)[0] if kind == INTEGERS and begin < end else None
                if number is None or number >= len(names[label]):
                    raise ValueError(f"{label} is {number} of {len(names[label])} classes")
                example.append(number)
            yield example
    except KeyError as error:
        raise EvaluationError(f"{path}: an example has no {error}; {AGAIN}.") from error
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        raise EvaluationError(f"{path} cannot be read ({error}); {AGAIN}.") from error
