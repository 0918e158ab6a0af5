"""Prepared data sets of tensorflow-datasets: written by the library itself, read by ours."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hares_tf.audio import AudioError
from hares_tf.evaluation.tasks import nsynth, prepared_tfds
from hares_tf.evaluation.tasks.declaration import Places
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.recordings.tfds_records import TfdsSound, integers
from hares_tf.utils.errors import HaresError

FORMATS = ("tfrecord", "array_record")
WORDS = Labels.classes(("down", "go", "_silence_", "_unknown_"))
SPEAKERS = Labels.classes([f"id{number}" for number in range(10_001, 11_252)])
LANGUAGES = Labels.classes(("de", "en", "es", "fr", "it", "ru"))
NOTE = {"label": 3, "source": 1}
REPEATED = np.linspace(-1, 1, 640, dtype="float32")


def _note(name, family, pitch, audio):
    instrument = {"family": family, **NOTE}
    qualities = {"bright": True, "dark": False}
    return {
        "id": name,
        "audio": audio,
        "pitch": pitch,
        "velocity": 127,
        "instrument": instrument,
        "qualities": qualities,
    }


def _notes():
    random = np.random.default_rng(0)

    def noise():
        return random.uniform(-1, 1, 640).astype("float32")

    train = [_note(f"note-{i}", i % 11, 20 * i, noise()) for i in range(6)]
    return {
        "train": [*train, _note("first", 0, 0, REPEATED)],
        "valid": [_note("valid-0", 10, 127, noise()), _note("valid-1", 2, 7, noise())],
        "test": [_note("test-0", 9, 60, noise()), _note("again", 5, 5, REPEATED)],
    }


def _words():
    random = np.random.default_rng(1)
    lengths = (16_000, 9_000, 1)
    return {
        split: [
            {"audio": random.integers(-32_768, 32_768, n, np.int16), "label": (i + n) % 4}
            for i, n in enumerate(lengths)
        ]
        for split in ("train", "validation", "test")
    }


# Every length that an integer takes in the file, for both signs.
EXTREMES = np.array([0, 1, -1, 127, 128, 16_383, 16_384, 32_767, -32_768], np.int64)


def _speakers():
    def example(audio, label):
        return {"audio": np.asarray(audio, np.int64), "label": label, "youtube_id": "Q-x_1"}

    return {
        "train": [example(EXTREMES, 1), example([5], 1_251)],
        "validation": [example([-7, 7], 270)],
        "test": [example([9] * 50, 2)],
    }


def _languages():
    """A tone of 440 Hz at another rate than the models'."""
    tone = np.round(16_384 * np.sin(2 * np.pi * 440 * np.arange(8_000) / 8_000)).astype(np.int64)
    return {s: [{"audio": tone, "label": 3, "speaker_id": "ann"}] for s in ("train", "test")}


def _builders():
    """Builders with the names and features of the real ones."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    f = tfds.features

    class _Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=f.FeaturesDict(self.features()))

        def _split_generators(self, download_manager):
            return {s: self._generate_examples(e) for s, e in self.examples().items()}

        def _generate_examples(self, examples):
            yield from ((f"key-{i}", example) for i, example in enumerate(examples))

    class Nsynth(_Small, skip_registration=True):
        VERSION = tfds.core.Version("2.3.3")
        BUILDER_CONFIGS = (tfds.core.BuilderConfig(name="full", version="2.3.3"),)
        examples = staticmethod(_notes)

        def features(self):
            return {
                "id": f.Text(),
                "audio": f.Audio(shape=(640,), dtype=np.float32, sample_rate=16_000),
                "pitch": f.ClassLabel(num_classes=128),
                "velocity": f.ClassLabel(num_classes=128),
                "instrument": {
                    "label": f.ClassLabel(num_classes=1006),
                    "family": f.ClassLabel(names=nsynth.FAMILIES),
                    "source": f.ClassLabel(names=["acoustic", "electronic", "synthetic"]),
                },
                "qualities": {"bright": np.bool_, "dark": np.bool_},
            }

    class SpeechCommands(_Small, skip_registration=True):
        examples = staticmethod(_words)

        def features(self):
            return {
                "audio": f.Audio(file_format="wav", sample_rate=16_000, dtype=np.int16),
                "label": f.ClassLabel(names=WORDS.names),
            }

    class Voxceleb(_Small, skip_registration=True):
        examples = staticmethod(_speakers)

        def features(self):
            return {
                # As in old versions, the rate is not stated.
                "audio": f.Audio(file_format="wav"),
                "label": f.ClassLabel(num_classes=1252),
                "youtube_id": f.Text(),
            }

    class Voxforge(_Small, skip_registration=True):
        examples = staticmethod(_languages)

        def features(self):
            return {
                "audio": f.Audio(file_format="wav", sample_rate=8_000),
                "label": f.ClassLabel(names=LANGUAGES.names),
                "speaker_id": np.str_,
            }

    return Nsynth, SpeechCommands, Voxceleb, Voxforge


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A data_dir of tensorflow-datasets per file format, with two shards per split if possible."""
    import tensorflow_datasets as tfds

    config = tfds.download.DownloadConfig(num_shards=2)
    folders = {}
    for file_format in FORMATS:
        folders[file_format] = tmp_path_factory.mktemp(file_format)
        for builder in _builders():
            # One example cannot fill two shards.
            few = builder.name in ("voxceleb", "voxforge")
            builder(data_dir=folders[file_format], file_format=file_format).download_and_prepare(
                download_config=None if few else config
            )
    return folders


@pytest.fixture(params=FORMATS)
def places(request, prepared):
    return Places(tfds_dir=prepared[request.param])


@pytest.fixture
def copied(prepared, tmp_path):
    """A copy of the tfrecord folder, to be damaged."""
    shutil.copytree(prepared["tfrecord"], tmp_path / "tfds")
    return tmp_path / "tfds"


def by_library(places, folder, split):
    """The examples of a split as the library reads them."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(places.tfds_dir / folder)
    if builder.info.file_format.value == "array_record":
        return list(builder.as_data_source(split))
    return list(tfds.as_numpy(builder.as_dataset(split, shuffle_files=False)))


def of(manifest, part):
    return [clip for clip in manifest.clips if clip.part == part]


def test_notes_are_what_the_library_reads(places):
    instrument, pitch = (task.read(places) for task in nsynth.TASKS)
    for split, part in {"train": "train", "valid": "validation", "test": "test"}.items():
        examples = by_library(places, "nsynth/full/2.3.3", split)
        assert len(examples) == len(_notes()[split])
        for example, family, note in zip(
            examples, of(instrument, part), of(pitch, part), strict=True
        ):
            assert family.id == note.id == example["id"].decode()
            assert family.label == nsynth.FAMILIES[example["instrument"]["family"]]
            assert note.label == str(example["pitch"])
            assert family.sound == note.sound
            waveform = note.sound.load(16_000)
            assert waveform.dtype == np.float32
            np.testing.assert_array_equal(waveform, example["audio"])
    assert len({clip.sound.where for clip in pitch.clips}) == 11
    assert "nsynth/full/2.3.3 of tensorflow-datasets" in pitch.notes[0]


def test_words_are_what_the_library_reads(places):
    manifest = prepared_tfds.speech_commands(places, WORDS)
    for split in ("train", "validation", "test"):
        examples = by_library(places, "speech_commands/1.0.0", split)
        for number, (example, clip) in enumerate(zip(examples, of(manifest, split), strict=True)):
            assert clip.id == f"{split}/{number}"
            assert clip.label == WORDS.names[example["label"]]
            waveform = clip.sound.load(16_000)
            np.testing.assert_array_equal(waveform, example["audio"].astype("f4") / 32_768)
    assert {len(clip.sound.load(16_000)) for clip in manifest.clips} == {16_000, 9_000, 1}


def test_speakers_have_their_published_names(places):
    manifest = prepared_tfds.voxceleb(places, SPEAKERS)
    assert manifest.part_sizes == {"train": 2, "validation": 1, "test": 1}
    assert {clip.label for clip in of(manifest, "train")} == {"id10001", "id11251"}
    assert of(manifest, "validation")[0].label == "id10270"
    (clip,) = (clip for clip in manifest.clips if clip.label == "id10001")
    np.testing.assert_array_equal(clip.sound.load(16_000), EXTREMES / 32_768)
    assert any("134,000/6,670/7,972" in note for note in manifest.notes)


def test_other_rates_are_resampled(places):
    (clip,) = of(prepared_tfds.voxforge(places, LANGUAGES), "test")
    assert clip.label == "fr"
    waveform = clip.sound.load(16_000)
    assert waveform.shape == (16_000,)
    assert waveform.dtype == np.float32
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(waveform[2_000:-2_000], tone[2_000:-2_000], atol=1e-3)


def test_digests_follow_the_samples(prepared):
    digests = {}
    for file_format in FORMATS:
        manifest = nsynth.TASKS[1].read(Places(tfds_dir=prepared[file_format]))
        digests[file_format] = {clip.id: clip.sound.content_digest() for clip in manifest.clips}
    # Whatever they are stored in; and a recording that two splits share is noticed.
    assert digests["tfrecord"] == digests["array_record"]
    assert digests["tfrecord"]["first"] == digests["tfrecord"]["again"]
    assert len(set(digests["tfrecord"].values())) == 10


def test_threads_read_together(places):
    clips = nsynth.TASKS[0].read(places).clips * 30
    alone = [clip.sound.load(16_000) for clip in clips[:11]]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda clip: clip.sound.load(16_000), clips))
    for number, waveform in enumerate(together):
        np.testing.assert_array_equal(waveform, alone[number % 11])


def test_a_clip_is_read_without_the_rest(copied):
    clip = nsynth.TASKS[0].read(Places(tfds_dir=copied)).clips[2]
    expected = clip.sound.load(16_000)
    path, start = Path(clip.sound.path), clip.sound.offset
    content = path.read_bytes()
    kept = content[start : start + clip.sound.size]
    path.write_bytes(b"\xff" * start + kept + b"\xff" * (len(content) - start - len(kept)))
    np.testing.assert_array_equal(clip.sound.load(16_000), expected)


def test_second_run_imports_neither_library(places):
    first = nsynth.TASKS[0].read(places)
    program = (
        "import sys, pathlib\n"
        "from hares_tf.evaluation.tasks import nsynth\n"
        "from hares_tf.evaluation.tasks.declaration import Places\n"
        "manifest = nsynth.TASKS[0].read(Places(tfds_dir=pathlib.Path(sys.argv[1])))\n"
        "assert not {'tensorflow', 'tensorflow_datasets', 'keras'} & set(sys.modules)\n"
        "print(manifest.content_hash([clip.sound.content_digest() for clip in manifest.clips]))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(places.tfds_dir)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    digests = [clip.sound.content_digest() for clip in first.clips]
    assert ran.stdout.strip() == first.content_hash(digests)


def test_index_follows_the_files(copied, tmp_path, monkeypatch):
    made = []
    original = prepared_tfds._make_index
    monkeypatch.setattr(
        prepared_tfds, "_make_index", lambda *args: made.append(args) or original(*args)
    )
    monkeypatch.setenv("HARES_CACHE_DIR", str(tmp_path / "cache"))
    places = Places(tfds_dir=copied)
    for _ in range(2):
        nsynth.TASKS[0].read(places)
        nsynth.TASKS[1].read(places)
    assert len(made) == 1
    shard = next((copied / "nsynth/full/2.3.3").glob("*train*00001-of*"))
    os.utime(shard, ns=(1, 1))
    nsynth.TASKS[0].read(places)
    assert len(made) == 2
    # A damaged index is made again.
    for cached in (tmp_path / "cache" / "tfds").iterdir():
        cached.write_text("{")
    nsynth.TASKS[0].read(places)
    assert len(made) == 3


def test_newest_finished_version(copied):
    root = copied / "nsynth" / "full"
    for name in ("2.10.0", "2.9.0", "incomplete.ABCDEF_3.0.0", "3.0.0"):
        shutil.copytree(root / "2.3.3", root / name)
    (root / "3.0.0" / "dataset_info.json").unlink()
    for path in (root / "2.10.0").glob("dataset_info.json"):
        path.write_text(path.read_text().replace("2.3.3", "2.10.0"))
    manifest = nsynth.TASKS[0].read(Places(tfds_dir=copied))
    assert {Path(clip.sound.path).parent.name for clip in manifest.clips} == {"2.10.0"}


def test_absent_data_sets(tmp_path):
    assert prepared_tfds.voxforge(Places(), LANGUAGES) is None
    assert prepared_tfds.voxforge(Places(tfds_dir=tmp_path), LANGUAGES) is None
    with pytest.raises(HaresError, match="is not a folder"):
        prepared_tfds.voxforge(Places(tfds_dir=tmp_path / "typo"), LANGUAGES)
    # Without a prepared one, the data set is looked for as published.
    with pytest.raises(HaresError, match="--data_dir"):
        nsynth.TASKS[0].read(Places(tfds_dir=tmp_path))


def test_unknown_labels(places):
    with pytest.raises(HaresError, match=r"label of train example . is 'id1(0001|1251)'"):
        prepared_tfds.voxceleb(places, Labels.classes(["id10270"]))


@pytest.mark.parametrize("keep", [-1, -60, 12, 5, 0])
def test_cut_files(copied, keep):
    shard = next((copied / "nsynth/full/2.3.3").glob("*train*00001-of*"))
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(HaresError, match=r"train.*00001.*prepare the data set again"):
        nsynth.TASKS[0].read(Places(tfds_dir=copied))


def test_damaged_array_records(prepared, tmp_path):
    shutil.copytree(prepared["array_record"], tmp_path / "tfds")
    places = Places(tfds_dir=tmp_path / "tfds")
    clip = nsynth.TASKS[0].read(places).clips[0]
    path = Path(clip.sound.path)
    content = path.read_bytes()
    for damaged, of_clip, of_set in (
        (content[:1_000] + b"\x55" * 100 + content[1_100:], "cannot be read", "cannot be read"),
        # Of a cut file the library gives empty records, without complaint.
        (content[: len(content) // 2], "ends too early", "has 0 of 4 examples"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(AudioError, match=of_clip):
            clip.sound.load(16_000)
        with pytest.raises(HaresError, match=f"{of_set}.*prepare the data set again"):
            nsynth.TASKS[0].read(places)


def test_a_file_with_records_of_another(copied):
    shard = next((copied / "nsynth/full/2.3.3").glob("*test*00000-of*"))
    shard.write_bytes(shard.read_bytes() * 2)
    with pytest.raises(HaresError, match="has 2 of 1 examples"):
        nsynth.TASKS[0].read(Places(tfds_dir=copied))


def test_files_of_something_else(copied):
    folder = copied / "nsynth/full/2.3.3"
    shard = next(folder.glob("*train*00000-of*"))
    content = shard.read_bytes()
    # A record of the right length, filled with something else.
    shard.write_bytes(content[:12] + b"\x55" * (len(content) - 12))
    with pytest.raises(HaresError, match="not an example of tensorflow-datasets"):
        nsynth.TASKS[0].read(Places(tfds_dir=copied))
    shard.unlink()
    with pytest.raises(HaresError, match=r"train.*00000.*cannot be read"):
        nsynth.TASKS[0].read(Places(tfds_dir=copied))
    (folder / "features.json").write_text("{}")
    with pytest.raises(HaresError, match="tensorflow-datasets can open"):
        nsynth.TASKS[0].read(Places(tfds_dir=copied))


def test_other_formats_are_refused(copied):
    info = copied / "nsynth/full/2.3.3/dataset_info.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), "fileFormat": "riegeli"}))
    with pytest.raises(HaresError, match=r"riegeli.*only \.tfrecord and \.array_record"):
        nsynth.TASKS[0].read(Places(tfds_dir=copied))


def encoded(values, whole=True):
    """A list of numbers as the library's own protocol buffers store it, without tag and length."""
    import tensorflow as tf

    kind = tf.train.Int64List if whole else tf.train.FloatList
    length = len(kind(value=values).SerializeToString())
    content = kind(value=values).SerializeToString()
    # The tag is one byte; the length takes one byte per 7 bits.
    return content[2 if length < 130 else 3 :]


def test_integers_of_every_length():
    random = np.random.default_rng(2)
    values = random.integers(-(2**63), 2**63, 300) >> random.integers(0, 64, 300)
    values = np.concatenate([values, [0, -1, 2**63 - 1, -(2**63)]])
    np.testing.assert_array_equal(integers(encoded(values.tolist())), values)
    assert integers(b"").size == 0


@pytest.mark.parametrize(
    "values, whole, message",
    [
        ([0.0, float("nan")], False, "NaN or infinite"),
        ([0.0, float("-inf")], False, "NaN or infinite"),
        ([100.0, -20_000.0], False, "integers that were stored as floats"),
        ([0, 32_768], True, "more than 16 bits"),
        ([-32_769], True, "more than 16 bits"),
        ([], True, "no samples"),
        ([], False, "no samples"),
    ],
)
def test_unusable_samples(tmp_path, values, whole, message):
    path = tmp_path / "a.tfrecord"
    content = encoded(values, whole) if values else b""
    path.write_bytes(b"head" + content + b"tail")
    with pytest.raises(AudioError, match=message):
        TfdsSound(str(path), -1, 4, len(content), whole, 16_000).load(16_000)


def test_files_that_go_away(copied, tmp_path):
    clip = nsynth.TASKS[0].read(Places(tfds_dir=copied)).clips[0]
    digest = clip.sound.content_digest()
    path = Path(clip.sound.path)
    path.write_bytes(path.read_bytes()[: clip.sound.offset + 3])
    with pytest.raises(AudioError, match="ends too early"):
        clip.sound.load(16_000)
    path.unlink()
    with pytest.raises(AudioError, match="cannot be read"):
        clip.sound.load(16_000)
    assert clip.sound.content_digest() != digest
