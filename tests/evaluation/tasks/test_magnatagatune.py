"""MagnaTagATune: small trees in the published layout, and the published list itself."""

import csv
import json
import zipfile
from collections import Counter

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation.tasks.declaration import Places
from hares_tf.evaluation.tasks.magnatagatune import DATASET, TAGS, TASKS
from hares_tf.utils.errors import HaresError

(TASK,) = TASKS
# A tag of the published table that is not among the 50, written before and after them.
OTHER = "banjo"


def write_table(path, rows):
    """annotations_final.csv as published: tab separated, every cell quoted, the path last."""
    columns = ["clip_id", OTHER, *sorted(TAGS), "mp3_path"]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL)
        writer.writerow(columns)
        for clip, mp3, tags in rows:
            writer.writerow([clip, *(int(tag in tags) for tag in columns[1:-1]), mp3])


ROWS = [
    ("2", "f/bach-aria-30-59.mp3", ("classical", "violin")),
    ("6", "0/a band-one, two-0-29.mp3", ("guitar", "no vocals", OTHER)),
    ("10", "b/rock-0-29.mp3", ("rock",)),
    ("11", "c/noise-0-29.mp3", ()),
    ("12", "d/untagged-0-29.mp3", (OTHER,)),
    ("35644", "6/empty-0-29.mp3", ("rock",)),
]


@pytest.fixture
def tree(tmp_path):
    """DATA_DIR/magnatagatune with a table and the folders in it; one of them is empty."""
    root = tmp_path / "magnatagatune"
    for number, (_, mp3, _) in enumerate(ROWS):
        path = root / mp3
        path.parent.mkdir(parents=True, exist_ok=True)
        if "empty" in mp3:
            path.touch()
        else:
            wave = np.full(16_000, 0.1 * (number + 1), "float32")
            soundfile.write(path, wave, 16_000, format="MP3")
    # Neither of these is a clip of the list.
    (root / "0" / "._a band-one, two-0-29.mp3").touch()
    soundfile.write(root / "0" / "unlisted.mp3", np.zeros(99, "float32"), 16_000, format="MP3")
    write_table(root / "annotations_final.csv", ROWS)
    return root


def read(data_dir):
    return TASK.read(Places(data_dir))


def check(manifest):
    assert [(clip.id, clip.part, clip.label) for clip in manifest.clips] == [
        ("2", "test", ("classical", "violin")),
        ("6", "train", ("guitar", "no vocals")),
        ("10", "train", ("rock",)),
        ("11", "validation", ()),
        ("12", "test", ()),
    ]
    assert manifest.missing == ()
    assert manifest.n_excluded == 1
    for clip, level in zip(manifest.clips, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True):
        assert np.median(clip.sound.load(16_000)) == pytest.approx(level, abs=0.02)


def test_folders(tree, tmp_path):
    check(read(tmp_path))
    targets = read(tmp_path).labels.targets([clip.label for clip in read(tmp_path).clips])
    assert targets.shape == (5, 50)
    assert targets.sum(axis=1).tolist() == [2, 2, 1, 0, 0]
    assert targets[2, 7] == 1


def test_folders_below_mp3(tree, tmp_path):
    (tree / "mp3").mkdir()
    for folder in "06bcdf":
        (tree / folder).rename(tree / "mp3" / folder)
    check(read(tmp_path))


@pytest.mark.parametrize("prefix", ["", "mp3/"])
def test_archive_is_read_in_place(tree, tmp_path, prefix):
    with zipfile.ZipFile(tree / "mp3.zip", "w") as archive:
        for path in sorted(tree.glob("?/*.mp3")):
            archive.write(path, prefix + path.relative_to(tree).as_posix())
            path.unlink()
    manifest = read(tmp_path)
    check(manifest)
    assert all("mp3.zip" in clip.sound.container for clip in manifest.clips)


def test_other_data_sets_beside_the_folders_are_left_alone(tree, tmp_path):
    for path in tree.iterdir():
        path.rename(tmp_path / path.name)
    tree.rmdir()
    other = tmp_path / "zzz" / "f" / "bach-aria-30-59.mp3"
    other.parent.mkdir(parents=True)
    soundfile.write(other, np.zeros(16_000, "float32"), 16_000, format="MP3")
    check(read(tmp_path))


def test_absent_clips_are_named(tree, tmp_path):
    (tree / "d" / "untagged-0-29.mp3").unlink()
    manifest = read(tmp_path)
    assert manifest.missing == ("12",)
    assert len(manifest.clips) == 4


@pytest.mark.parametrize(
    "row, message",
    [
        (("77", "x/odd.mp3", ()), "row 8.*'x/odd.mp3' does not begin"),
        (("77", "10/odd.mp3", ()), "'10/odd.mp3' does not begin"),
        (("77", "/etc/odd.mp3", ()), "does not begin"),
        (("2", "0/again.mp3", ()), "2 is listed already"),
    ],
)
def test_malformed_rows(tree, tmp_path, row, message):
    write_table(tree / "annotations_final.csv", [*ROWS, row])
    with pytest.raises(HaresError, match=message):
        read(tmp_path)


def test_paths_that_lead_elsewhere_are_missing(tree, tmp_path):
    soundfile.write(tmp_path / "secret.mp3", np.zeros(99, "float32"), 16_000, format="MP3")
    write_table(tree / "annotations_final.csv", [*ROWS, ("77", "0/../../secret.mp3", ())])
    assert read(tmp_path).missing == ("77",)


def test_a_value_that_is_no_flag(tree, tmp_path):
    table = tree / "annotations_final.csv"
    table.write_text(table.read_text().replace('"1"', '"yes"', 1))
    with pytest.raises(HaresError, match=r"row 2.*'classical' is 'yes'"):
        read(tmp_path)


def test_a_comma_separated_table(tree, tmp_path):
    table = tree / "annotations_final.csv"
    table.write_text(table.read_text().replace("\t", ","))
    with pytest.raises(HaresError, match="no column 'clip_id'"):
        read(tmp_path)


def test_absent_data(tmp_path):
    with pytest.raises(HaresError, match=r"annotations_final\.csv"):
        read(tmp_path)
    (tmp_path / "annotations_final.csv").touch()
    with pytest.raises(HaresError, match=r"(?s)no mp3 or mp3\.zip.*cat mp3\.zip\.001"):
        read(tmp_path)
    write_table(tmp_path / "annotations_final.csv", ROWS)
    (tmp_path / "mp3").mkdir()
    with pytest.raises(HaresError, match="none of the 5 listed recordings"):
        read(tmp_path)


def test_published_list(shared_dir, tmp_path):
    """The rule finds the published split of every clip, from its path alone."""
    metadata = shared_dir / "metadata" / "magnatagatune"
    if not metadata.is_dir():
        pytest.skip(f"no published list at {metadata}")
    assert tuple(json.loads((metadata / "top50_tags.json").read_text())) == TAGS
    with open(metadata / "mtt_split.csv", newline="") as file:
        published = list(csv.DictReader(file))
    tags = {row["id"]: tuple(TAGS[int(i)] for i in row["tags"].split()) for row in published}
    root = tmp_path / "magnatagatune"
    root.mkdir()
    write_table(
        root / "annotations_final.csv", [(r["id"], r["path"], tags[r["id"]]) for r in published]
    )
    with zipfile.ZipFile(root / "mp3.zip", "w") as archive:
        for row in published:
            archive.writestr(zipfile.ZipInfo(row["path"]), b"")

    manifest = read(tmp_path)
    assert {clip.id: clip.part for clip in manifest.clips} == {
        row["id"]: row["split"] for row in published if row["id"] not in DATASET.known_bad
    }
    assert manifest.part_sizes == TASK.expected
    assert manifest.n_excluded == 3
    assert all(clip.label == tags[clip.id] for clip in manifest.clips)
    untagged = Counter(clip.part for clip in manifest.clips if not clip.label)
    assert (untagged["test"], untagged["validation"]) == (997, 296)
