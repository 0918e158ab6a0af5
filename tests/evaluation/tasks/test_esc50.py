"""ESC-50: published folds, as a folder and as the archive."""

import csv
import shutil
import zipfile
from collections import Counter

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation.tasks import esc50
from hares_tf.evaluation.tasks.declaration import Places
from hares_tf.utils.errors import HaresError

TASK = esc50.TASKS[0]
HEADER = "filename,fold,target,category,esc10,src_file,take\n"


@pytest.fixture
def copy(tmp_path):
    """The real layout with one clip of each of 50 classes; names lie about fold and class."""
    root = tmp_path / "esc50/ESC-50-master"
    (root / "audio").mkdir(parents=True)
    (root / "meta").mkdir()
    rows = []
    for target in range(50):
        name = f"9-{100 + target}-A-{49 - target}.wav"
        rows.append(f"{name},{target % 5 + 1},{target},class_{target:02d},False,100,A\n")
        soundfile.write(root / "audio" / name, np.zeros(44, "float32"), 44100)
    (root / "meta/esc50.csv").write_text(HEADER + "".join(rows))
    return tmp_path


def read(data_dir):
    return TASK.read(Places(data_dir=data_dir))


def zipped(copy, keep=False):
    """Turns the folder into the archive as GitHub makes it, with a Mac's litter in it."""
    folder = copy / "esc50/ESC-50-master"
    with zipfile.ZipFile(copy / "esc50/ESC-50-master.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder.parent).as_posix())
        archive.writestr("__MACOSX/ESC-50-master/audio/._9-100-A-49.wav", b"litter")
    if not keep:
        shutil.rmtree(folder)
    return copy


def test_declaration_is_appendix_a():
    assert (TASK.id, TASK.suite, TASK.head, TASK.metric) == ("esc50", "hares", "svm", "accuracy")
    assert (TASK.windows.seconds, TASK.windows.test, TASK.windows.train) == (5.0, "tiles", "whole")


@pytest.mark.parametrize("pack", [False, True])
def test_folds_and_labels_come_from_the_table(copy, pack):
    manifest = read(zipped(copy) if pack else copy)
    assert manifest.folds == ("1", "2", "3", "4", "5")
    assert manifest.part_sizes == dict.fromkeys("12345", 10)
    first = manifest.clips[0]
    assert (first.id, first.label, first.part) == ("9-100-A-49.wav", "class_00", "1")
    assert manifest.labels.names[7] == "class_07"
    assert first.sound.container.endswith(".zip" if pack else "/audio/9-100-A-49.wav")
    assert len(first.sound.load(44100)) == 44
    assert (manifest.missing, manifest.n_excluded, manifest.notes) == ((), 0, ())


def test_other_places(copy):
    (copy / "esc50/ESC-50-master").rename(copy / "away")
    shutil.rmtree(copy / "esc50")
    (copy / "away").rename(copy / "esc50")  # a clone of the repository under our name
    assert len(read(copy).clips) == 50
    (copy / "esc50").rename(copy / "ESC-50-master")  # right below the data folder
    assert len(read(copy).clips) == 50


def test_absent_clips_are_missing(copy):
    audio = copy / "esc50/ESC-50-master/audio"
    (audio / "9-103-A-46.wav").unlink()
    # A file of the same name elsewhere is not the clip.
    soundfile.write(audio.parent / "9-103-A-46.wav", np.zeros(44, "float32"), 44100)
    manifest = read(copy)
    assert manifest.missing == ("9-103-A-46.wav",)
    assert len(manifest.clips) == 49
    assert manifest.labels.width == 50
    for path in audio.iterdir():
        path.unlink()
    with pytest.raises(HaresError, match="none of the 50 listed recordings"):
        read(copy)


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",1,0,class_00", ",6,0,class_00", "row 2: the split or fold '6' is not one of"),
        ("9-101-A-48.wav", "9-100-A-49.wav", "row 3: 9-100-A-49.wav is listed already"),
        (",2,1,class_01", ",2,0,class_01", "row 3: target 0 is 'class_01' here and 'class_00'"),
        ("class_01", "class_00", "has 49 categories and 50 targets"),
        ("category", "kind", "has no column 'category'"),
        (",4,class_04,False,100,A", "", "row 6: 2 cells"),
    ],
)
def test_malformed_tables(copy, old, new, message, pack):
    path = copy / "esc50/ESC-50-master/meta/esc50.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(HaresError, match=message):
        read(zipped(copy) if pack else copy)


def test_an_archive_without_table(copy):
    (copy / "esc50/ESC-50-master/meta/esc50.csv").unlink()
    with pytest.raises(HaresError, match="Cannot read"):
        read(copy)
    with pytest.raises(HaresError, match="has 0 tables"):
        read(zipped(copy))


def test_absent_data(tmp_path):
    with pytest.raises(HaresError, match=r"ESC-50 was not found(.|\n)*karolpiczak"):
        read(tmp_path)


def test_published_table(shared_dir, tmp_path):
    """Folds, classes and expected counts of the real list, with its real names."""
    published = shared_dir / "metadata/esc50/esc50.csv"
    root = tmp_path / "esc50/ESC-50-master"
    (root / "audio").mkdir(parents=True)
    (root / "meta").mkdir()
    shutil.copy(published, root / "meta/esc50.csv")
    with open(published, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        (root / "audio" / row["filename"]).touch()
    manifest = read(tmp_path)
    assert manifest.part_sizes == dict(TASK.expected) == Counter(row["fold"] for row in rows)
    assert set(manifest.labels.names) == {row["category"] for row in rows}
    in_fold = Counter((clip.label, clip.part) for clip in manifest.clips)
    assert set(in_fold.values()) == {8}
    assert len(in_fold) == 250
