"""Speech Commands: the three constructions, on small trees in the real layout."""

import hashlib
import json
import tarfile
from collections import Counter

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation.tasks.declaration import Places
from hares_tf.evaluation.tasks.speech_commands import LABELS_12, TASKS
from hares_tf.evaluation.tasks.speech_commands_release import WORDS, WORDS_V001
from hares_tf.utils.errors import HaresError

V1, V2, V1_V001 = TASKS
VALIDATION = ["yes/bb_nohash_0.wav", "backward/bb_nohash_0.wav"]
TESTING = ["yes/cc_nohash_0.wav", "learn/cc_nohash_0.wav"]
TRAINING = ["yes/aa_nohash_0.wav", "yes/aa_nohash_1.wav", "bed/aa_nohash_0.wav"]
# Seconds of noise -> stretches of one second every half second, the last possible one left out.
NOISES = {
    "doing_the_dishes.wav": (3.0, 4),
    "dude_miaowing.wav": (2.75, 4),
    "exercise_bike.wav": (2.0, 2),
    "pink_noise.wav": (1.0, 0),
    "running_tap.wav": (1.75, 2),
    "white_noise.wav": (2.5, 3),
}


def write(path, samples=16_000, rate=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(samples, "float32"), rate)


def make_release(folder, training=TRAINING, validation=VALIDATION, testing=TESTING):
    for name in (*training, *validation, *testing):
        write(folder / name, 12_000)
    for name, (seconds, _) in NOISES.items():
        write(folder / "_background_noise_" / name, int(seconds * 16_000))
    (folder / "_background_noise_" / "README.md").write_text("Noise.")
    (folder / "validation_list.txt").write_text("\n".join(validation) + "\n")
    (folder / "testing_list.txt").write_text("\n".join(testing) + "\n")
    (folder / "LICENSE").write_text("CC BY 4.0")
    return folder


def make_test_set(folder):
    for name in ("yes/cc_nohash_0.wav", "_unknown_/learn_cc.wav", "_silence_/a.wav.wav"):
        write(folder / name)
    return folder


@pytest.fixture
def data_dir(tmp_path):
    make_release(tmp_path / "speech_commands" / "speech_commands_v0.02")
    make_test_set(tmp_path / "speech_commands" / "speech_commands_test_set_v0.02")
    return tmp_path


def by_id(manifest):
    clips = {clip.id: (clip.label, clip.part) for clip in manifest.clips}
    assert len(clips) == len(manifest.clips)
    return clips


def test_twelve_labels_are_built_as_tensorflow_datasets_does(data_dir):
    manifest = V1.read(Places(data_dir))
    clips = by_id(manifest)
    assert clips["yes/aa_nohash_1.wav"] == ("yes", "train")
    assert clips["bed/aa_nohash_0.wav"] == ("_unknown_", "train")
    assert clips["yes/bb_nohash_0.wav"] == ("yes", "validation")
    assert clips["backward/bb_nohash_0.wav"] == ("_unknown_", "validation")
    # Testing uses the test set only, not the recordings of the testing list.
    tested = {
        name.partition("/")[2]: label for name, (label, part) in clips.items() if part == "test"
    }
    assert tested == {
        "yes/cc_nohash_0.wav": "yes",
        "_unknown_/learn_cc.wav": "_unknown_",
        "_silence_/a.wav.wav": "_silence_",
    }
    assert manifest.part_sizes == {"train": 3 + 4 + 4 + 2 + 0 + 3, "validation": 2 + 2, "test": 3}
    assert manifest.missing == () and manifest.n_excluded == 0
    assert "v0.02" in manifest.notes[0]


def test_labels_have_the_order_of_tensorflow_datasets():
    from tensorflow_datasets.datasets.speech_commands import (
        speech_commands_dataset_builder as builder,
    )

    assert (*builder.WORDS, builder.SILENCE, builder.UNKNOWN) == LABELS_12


def test_silence_is_cut_every_half_second(data_dir):
    clips = V1.read(Places(data_dir)).clips
    silence = [c for c in clips if c.label == "_silence_" and c.part != "test"]
    of_noise = Counter(c.id.split("/")[1].split("[")[0] for c in silence)
    assert of_noise == {name: n for name, (_, n) in NOISES.items() if n}
    dishes = [(c.sound.start, c.sound.stop) for c in silence if "dishes" in c.id]
    assert dishes == [(0, 1), (0.5, 1.5), (1, 2), (1.5, 2.5)]
    assert {c.part for c in silence if "running_tap" in c.id} == {"validation"}
    assert {c.part for c in silence if "running_tap" not in c.id} == {"train"}
    assert silence[0].sound.load(16_000).shape == (16_000,)


def test_the_lengths_of_the_published_noise_give_the_published_counts(data_dir):
    """789 stretches: 100,503 clips of the data set less the words and the test set."""
    lengths = (1_522_930, 988_891, 980_062, 960_000, 978_488, 960_000)
    noise = data_dir / "speech_commands" / "speech_commands_v0.02" / "_background_noise_"
    for name, samples in zip(NOISES, lengths, strict=True):
        soundfile.write(noise / name, np.zeros(samples, np.int16), 16_000)
    parts = Counter(
        c.part for c in V1.read(Places(data_dir)).clips if c.id.startswith("_background_noise_")
    )
    assert parts == {
        "train": V1.expected["train"] - V2.expected["train"],
        "validation": V1.expected["validation"] - V2.expected["validation"],
    }


def test_thirty_five_words_have_no_silence(data_dir):
    manifest = V2.read(Places(data_dir))
    assert by_id(manifest) == {
        **{name: (name.split("/")[0], "train") for name in TRAINING},
        **{name: (name.split("/")[0], "validation") for name in VALIDATION},
        **{name: (name.split("/")[0], "test") for name in TESTING},
    }
    assert len(manifest.labels.names) == 35 and list(manifest.labels.names) == sorted(WORDS)
    assert sum(V2.expected.values()) == 105_829  # recordings of v0.02, arXiv:1804.03209


def test_the_variant_uses_v001_and_never_hears_a_noise_in_two_splits(tmp_path):
    make_release(
        tmp_path / "speech_commands" / "speech_commands_v0.01",
        TRAINING,
        ["yes/bb_nohash_0.wav"],
        ["yes/cc_nohash_0.wav", "zero/cc_nohash_0.wav"],
    )
    clips = by_id(V1_V001.read(Places(tmp_path)))
    assert clips["zero/cc_nohash_0.wav"] == ("_unknown_", "test")
    noise = {n.split("[")[0]: part for n, (_, part) in clips.items() if n.startswith("_back")}
    assert noise == {
        "_background_noise_/doing_the_dishes.wav": "train",
        "_background_noise_/dude_miaowing.wav": "train",
        "_background_noise_/white_noise.wav": "train",
        "_background_noise_/running_tap.wav": "validation",
        "_background_noise_/exercise_bike.wav": "test",
    }
    assert V1_V001.suite == "variant" and not V1_V001.expected


def test_absent_recordings_and_noises_are_listed(data_dir):
    archive = data_dir / "speech_commands" / "speech_commands_v0.02"
    for name in (VALIDATION[0], TESTING[1], "_background_noise_/pink_noise.wav"):
        (archive / name).unlink()
    # Testing recordings of the archive take no part in the 12 labels.
    assert V1.read(Places(data_dir)).missing == (
        VALIDATION[0],
        "_background_noise_/pink_noise.wav",
    )
    assert V2.read(Places(data_dir)).missing == (VALIDATION[0], TESTING[1])


@pytest.mark.parametrize("prefix", ["./", ""])
def test_decompressed_archives_are_read_in_place(data_dir, tmp_path, prefix):
    whole = V1.read(Places(data_dir))
    in_place = tmp_path / "archives"
    in_place.mkdir()
    for name in ("speech_commands_v0.02", "speech_commands_test_set_v0.02"):
        with tarfile.open(in_place / f"{name}.tar", "w") as tar:
            tar.add(data_dir / "speech_commands" / name, arcname=prefix or name)
    read = V1.read(Places(in_place))
    assert by_id(read) == by_id(whole)
    silence = next(c for c in read.clips if c.label == "_silence_")
    assert silence.sound.container.endswith("v0.02.tar")
    assert silence.sound.load(16_000).shape == (16_000,)


def test_words_may_lie_at_the_top_with_the_test_set_beside_them(tmp_path):
    make_release(tmp_path / "speech_commands")
    make_test_set(tmp_path / "speech_commands" / "speech_commands_test_set_v0.02")
    # A copy of the other release, too: neither may leak into the training words.
    make_release(tmp_path / "speech_commands" / "speech_commands_v0.01", ["zero/z_nohash_0.wav"])
    write(tmp_path / "speech_commands" / "yes" / "my_copies" / "aa_nohash_0.wav")
    parts = V2.read(Places(tmp_path)).part_sizes
    assert parts == {"train": 3, "validation": 2, "test": 2}
    assert V1.read(Places(tmp_path)).part_sizes["test"] == 3


def test_the_other_release_is_refused(tmp_path):
    make_release(
        tmp_path / "speech_commands", TRAINING, ["yes/b_nohash_0.wav"], ["no/c_nohash_0.wav"]
    )
    with pytest.raises(HaresError, match=r"lists .* are those of v0\.01.*needs v0\.02"):
        V2.read(Places(tmp_path))


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (lambda a: (a / "testing_list.txt").unlink(), "has no testing_list.txt"),
        (lambda a: (a / "testing_list.txt").write_text("\nyes/a.wav\nfoo/b.wav\n"), "line 3: 'foo"),
        (lambda a: (a / "testing_list.txt").write_text("yes/../no/b.wav\n"), "line 1: 'yes/../no"),
        (lambda a: (a / "testing_list.txt").write_text(VALIDATION[1]), "is listed twice"),
        (lambda a: (a / "testing_list.txt").write_bytes(b"\xff"), "not a UTF-8 list"),
        (
            lambda a: (a / "_background_noise_" / "running_tap.wav").write_bytes(b"RIFFnoise"),
            "running_tap.wav is not a recording",
        ),
    ],
)
def test_damaged_copies_are_refused_with_a_sentence(data_dir, breakage, message):
    breakage(data_dir / "speech_commands" / "speech_commands_v0.02")
    with pytest.raises(HaresError, match=message):
        V1.read(Places(data_dir))


def test_a_test_set_with_other_folders_is_refused(data_dir):
    write(data_dir / "speech_commands" / "speech_commands_test_set_v0.02" / "bed" / "a.wav")
    with pytest.raises(HaresError, match="bed is none of the 12 labels"):
        V1.read(Places(data_dir))


def test_absent_data_say_how_to_get_them(tmp_path, data_dir):
    with pytest.raises(HaresError, match=r"speech_commands_v0\.02\.tar\.gz"):
        V2.read(Places(tmp_path / "nothing"))
    test_set = data_dir / "speech_commands" / "speech_commands_test_set_v0.02"
    test_set.rename(tmp_path / "elsewhere")
    with pytest.raises(HaresError, match=r"speech_commands_test_set_v0\.02\.tar\.gz"):
        V1.read(Places(data_dir))


def test_the_published_lists_follow_the_hash_rule(shared_dir):
    """Reading with the real v0.01 lists: every part is what the hash of the speaker says."""
    folder = shared_dir / "metadata" / "speech_commands"
    convention = json.loads((shared_dir / "metadata" / "conventions.json").read_text())
    convention = convention["speech_commands"]

    def part_by_hash(name):
        speaker = name.split("/")[1].split("_nohash_")[0]
        value = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % 2**27
        percentage = value * 100 / (2**27 - 1)
        return "validation" if percentage < 10 else "test" if percentage < 20 else "train"

    lists = {
        part: (folder / f"v0.01_{name}_list.txt").read_text().split()
        for part, name in (("validation", "validation"), ("test", "testing"))
    }
    assert not set(lists["validation"]) & set(lists["test"])
    assert len(lists["validation"]) == convention["validation_list_v0.01"]
    assert len(lists["test"]) == convention["testing_list_v0.01"]
    for part, names in lists.items():
        assert {part_by_hash(name) for name in names} == {part}
    assert {name.split("/")[0] for name in lists["test"]} == set(WORDS_V001)
    assert len(WORDS) == convention["words_v0.02"]


def test_the_published_lists_are_read(shared_dir, tmp_path):
    root = tmp_path / "speech_commands_v0.01"
    write(root / "yes" / "no_list_nohash_0.wav", 10)
    for name in ("validation", "testing"):
        source = shared_dir / "metadata" / "speech_commands" / f"v0.01_{name}_list.txt"
        (root / f"{name}_list.txt").write_bytes(source.read_bytes())
    manifest = V1_V001.read(Places(tmp_path))
    assert manifest.part_sizes == {"train": 1}
    assert len(manifest.missing) == 6_798 + 6_835 + 6
