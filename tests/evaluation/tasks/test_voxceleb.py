"""VoxCeleb1: the identification split over two archives, unpacked or in place."""

import json
import time
import zipfile

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation.tasks.declaration import Places
from hares_tf.evaluation.tasks.voxceleb import SPEAKERS, TASKS, TEST_SPEAKERS
from hares_tf.utils.errors import HaresError

(TASK,) = TASKS
DEV = {"id10001/-x_Y/00001.wav": "1", "id11251/_abc/00001.wav": "3", "id10001/zz/00002.wav": "2"}
TEST = {"id10270/5r0/00001.wav": "1", "id10309/q/00009.wav": "3"}
PARTS = {"1": "train", "2": "validation", "3": "test"}


def write_list(root, lines):
    root.mkdir(parents=True, exist_ok=True)
    (root / "iden_split.txt").write_text("".join(f"{part} {name}\n" for name, part in lines))


def write_wavs(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, np.zeros(400, "float32"), 16_000)


def pack(tmp_path, archive, names):
    write_wavs(tmp_path / "unpacked", names)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("wav/", "")
        for name in names:
            file.write(tmp_path / "unpacked" / name, f"wav/{name}")


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "voxceleb1"
    write_list(root, [*DEV.items(), *TEST.items()])
    return root


def listing(manifest):
    return [(clip.id, clip.label, clip.part) for clip in manifest.clips]


EVERYTHING = [(name, name[:7], PARTS[part]) for name, part in {**DEV, **TEST}.items()]


def test_both_archives_are_read_in_place(root, tmp_path):
    pack(tmp_path, root / "vox1_dev_wav.zip", DEV)
    pack(tmp_path, root / "vox1_test_wav.zip", TEST)
    manifest = TASK.read(Places(tmp_path))
    assert listing(manifest) == EVERYTHING
    assert manifest.missing == () and manifest.notes == ()
    assert manifest.clips[-1].sound.container.endswith("vox1_test_wav.zip")
    assert manifest.clips[-1].sound.load(16_000).shape == (400,)


@pytest.mark.parametrize(
    ("dev", "test"),
    [("wav", "wav"), ("dev/wav", "test/wav"), ("vox1_dev_wav/wav", "vox1_test_wav")],
)
def test_unpacked_recordings(root, tmp_path, dev, test):
    write_wavs(root / dev, DEV)
    write_wavs(root / test, TEST)
    assert listing(TASK.read(Places(tmp_path))) == EVERYTHING


def test_one_part_unpacked_and_one_in_its_archive(root, tmp_path):
    write_wavs(root / "wav", DEV)
    pack(tmp_path, root / "vox1_test_wav.zip", TEST)
    assert listing(TASK.read(Places(tmp_path))) == EVERYTHING


def test_there_are_1251_classes_from_zero(root, tmp_path):
    write_wavs(root / "wav", {**DEV, **TEST})
    labels = TASK.read(Places(tmp_path)).labels
    assert labels.width == 1_251
    assert labels.targets(["id10001", "id10270", "id11251"]).ravel().tolist() == [0, 269, 1_250]


@pytest.mark.parametrize(
    ("there", "absent", "archive"),
    [(DEV, TEST, "vox1_test_wav.zip"), (TEST, DEV, "vox1_dev_wav.zip")],
)
def test_one_of_two_archives_is_missing(root, tmp_path, there, absent, archive):
    write_wavs(root / "wav", there)
    manifest = TASK.read(Places(tmp_path))
    assert manifest.missing == tuple(absent)
    assert len(manifest.notes) == 1 and archive in manifest.notes[0]


def test_a_few_absent_files_are_listed_without_that_note(root, tmp_path):
    absent = "id10309/q/00009.wav"
    write_wavs(root / "wav", [name for name in {**DEV, **TEST} if name != absent])
    # Not listed, so not used.
    write_wavs(root / "wav", ["id10002/zz/00001.wav"])
    manifest = TASK.read(Places(tmp_path))
    assert manifest.missing == (absent,) and manifest.notes == ()
    assert listing(manifest) == EVERYTHING[:-1]


def test_the_release_with_folders_of_names_is_refused(root, tmp_path):
    write_wavs(root / "wav", ["A.J._Buckley/1zc/0000001.wav"])
    with pytest.raises(HaresError, match=r"'A\.J\._Buckley'.*first release"):
        TASK.read(Places(tmp_path))


def test_recordings_of_another_data_set_are_not_taken_for_that_release(root, tmp_path):
    write_wavs(root / "wav", ["id00012/_raOc3-IRsw/00110.wav"])
    with pytest.raises(HaresError, match="none of the 5 listed recordings"):
        TASK.read(Places(tmp_path))


@pytest.mark.parametrize(
    "line",
    [
        "1 A.J._Buckley/1zc/0000001.wav",
        "4 id10001/a/1.wav",
        "1 id10000/a/1.wav",
        "1 id11252/a/1.wav",
        "1 ../../id10001/a/1.wav",
        "id10001/a/1.wav",
    ],
)
def test_malformed_lines_are_named(root, tmp_path, line):
    write_wavs(root / "wav", DEV)
    with open(root / "iden_split.txt", "a") as file:
        file.write(line + "\n")
    with pytest.raises(HaresError, match=r"iden_split\.txt, entry 6( \(.*\))?: "):
        TASK.read(Places(tmp_path))


def test_a_recording_in_two_splits_is_refused(root, tmp_path):
    write_list(root, [("id10001/a/1.wav", "1"), ("id10001/a/1.wav", "3")])
    with pytest.raises(HaresError, match=r"entry 2: id10001/a/1\.wav is listed already"):
        TASK.read(Places(tmp_path))


def test_absent_data_say_how_to_get_them(root, tmp_path):
    with pytest.raises(HaresError, match=r"none of the 5 listed.*\n.*robots\.ox\.ac\.uk"):
        TASK.read(Places(tmp_path))
    (root / "iden_split.txt").unlink()
    with pytest.raises(HaresError, match=r"no iden_split\.txt"):
        TASK.read(Places(tmp_path))


def test_the_numbers_are_those_of_the_data_set(shared_dir):
    convention = json.loads((shared_dir / "metadata" / "conventions.json").read_text())
    convention = convention["voxceleb1_identification"]
    assert TASK.expected == convention["utterances"]
    assert len(SPEAKERS) == convention["speakers"] and len(TEST_SPEAKERS) == 40
    assert TEST_SPEAKERS.issubset(SPEAKERS)
    # The list has lines of 32 bytes, and 4,912,512 bytes by tensorflow-datasets' checksums.
    assert sum(TASK.expected.values()) * len("1 id10003/tCq2LcKO6xY/00002.wav\n") == 4_912_512


@pytest.mark.slow
def test_the_whole_list_is_read_in_seconds(tmp_path):
    """153,516 entries in an archive that has them all but one (of empty members)."""
    names = [
        f"{SPEAKERS[i % 1_251]}/video{i // 12_510}/{i // 1_251:05d}.wav" for i in range(153_516)
    ]
    write_list(tmp_path / "voxceleb1", [(name, "1") for name in names])
    with zipfile.ZipFile(tmp_path / "voxceleb1" / "vox1_dev_wav.zip", "w") as archive:
        for name in names[:-1]:
            archive.writestr(zipfile.ZipInfo(f"wav/{name}"), b"")
    start = time.process_time()
    manifest = TASK.read(Places(tmp_path))
    assert time.process_time() - start < 10
    assert len(manifest.clips) == 153_515 and manifest.missing == (names[-1],)
