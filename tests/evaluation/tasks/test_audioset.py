"""AudioSet: lists with comments, ids with traps, and copies with holes."""

import tarfile
import zipfile

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation.tasks import audioset
from hares_tf.evaluation.tasks.declaration import Places, Schedule
from hares_tf.utils.errors import HaresError

TASK = audioset.TASKS[0]
HEADER = "# Segments csv created for a test\n# num_ytids=2\n# YTID, start, end, positive_labels\n"
# The first begins with "-", the second with "Y"; the third is the second without it and more.
DASH, WHY, AFTER_WHY, MILLI, GONE = (
    "--PJHxphWEs",
    "Yabcdefghij",
    "abcdefghij_",
    "0123456789A",
    "gonegonegon",
)


def wav(path, seconds=0.01):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(int(16000 * seconds), "float32"), 16000)


def write_lists(folder, balanced, unbalanced, evaluation, tags=527):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f'{i},/m/{i:03d},"Sound, number {i}"\n' for i in range(tags)]
    (folder / "class_labels_indices.csv").write_text("index,mid,display_name\n" + "".join(rows))
    for name, lines in (
        ("balanced_train", balanced),
        ("unbalanced_train", unbalanced),
        ("eval", evaluation),
    ):
        (folder / f"{name}_segments.csv").write_text(HEADER + "".join(f"{x}\n" for x in lines))


@pytest.fixture
def copy(tmp_path):
    """A copy in the real layout; one clip of the lists is gone."""
    root = tmp_path / "audioset"
    write_lists(
        root,
        [f'{DASH}, 30.000, 40.000, "/m/000,/m/526"'],
        [f'{WHY}, 0.000, 10.000, "/m/001"', f'{GONE}, 0.000, 10.000, "/m/001"'],
        [f'{AFTER_WHY}, 5.000, 15.000, "/m/002"', f'{MILLI}, 20.000, 30.000, "/m/003"'],
    )
    wav(root / f"balanced_train_segments/Y{DASH}.wav")
    wav(root / f"unbalanced/part00/{WHY}_0.000_10.000.wav")
    wav(root / f"eval/{AFTER_WHY}.wav")
    wav(root / f"eval/{MILLI}_20000.wav")
    return tmp_path


def read(data_dir):
    return TASK.read(Places(data_dir=data_dir))


def by_id(manifest):
    return {clip.id: clip for clip in manifest.clips}


def test_declaration_is_appendix_a():
    assert (TASK.id, TASK.suite, TASK.domain) == ("audioset", "hares", "environment")
    assert (TASK.head, TASK.metric) == ("mlp", "mean_average_precision")
    windows = TASK.windows
    assert (windows.seconds, windows.test, windows.count, windows.train) == (
        3.0,
        "spread",
        10,
        "crops",
    )
    assert TASK.schedule == Schedule(200_000, 128)
    assert TASK.mixing
    assert sum(rows for _, _, rows in audioset.LISTS) == 2_084_320


def test_parts_tags_and_odd_names(copy):
    manifest = read(copy)
    clips = by_id(manifest)
    assert {name: clip.part for name, clip in clips.items()} == {
        DASH: "train",
        WHY: "train",
        AFTER_WHY: "test",
        MILLI: "test",
    }
    assert clips[DASH].label == ("Sound, number 0", "Sound, number 526")
    assert clips[DASH].sound.where.endswith(f"/Y{DASH}.wav")
    assert clips[WHY].sound.where.endswith(f"/{WHY}_0.000_10.000.wav")
    assert manifest.labels.kind == "tags"
    assert manifest.labels.width == 527
    targets = manifest.labels.targets([clips[DASH].label])
    assert np.flatnonzero(targets[0]).tolist() == [0, 526]


@pytest.mark.parametrize("start", ["", "_0", "_0.000_10.000"])
def test_an_id_that_begins_with_y_is_not_a_prefix(tmp_path, start):
    """`Yabcdefghij` is an id, `Yabcdefghij_` the clip `abcdefghij_` behind a prefix."""
    write_lists(
        tmp_path / "audioset",
        [f'{WHY}, 0.000, 10.000, "/m/000"'],
        [f'{DASH}, 0.000, 10.000, "/m/000"'],
        [f'{AFTER_WHY}, 0.000, 10.000, "/m/001"'],
    )
    wav(tmp_path / "audioset/wav" / f"{WHY}{start}.wav")
    wav(tmp_path / "audioset/wav" / f"Y{AFTER_WHY}{start}.wav")
    clips = by_id(read(tmp_path))
    assert clips[WHY].sound.where.endswith(f"/{WHY}{start}.wav")
    assert clips[AFTER_WHY].sound.where.endswith(f"/Y{AFTER_WHY}{start}.wav")


@pytest.mark.parametrize(
    ("name", "used"),
    [
        (f"{DASH}_30.wav", True),
        (f"{DASH}_30000.wav", True),
        (f"Y{DASH}_30.000_40.000.wav", True),
        (f"{DASH}_000030.wav", True),
        (f"{DASH}_mono.wav", True),
        (f"{DASH}.MP3", True),
        (f"{DASH}_90.wav", False),
        (f"{DASH}_90000_100000.wav", False),
        (f"{DASH}x.wav", False),
        (f"{DASH}.m4a", False),
        (f"x{DASH}.wav", False),
    ],
)
def test_names_of_files(copy, name, used):
    (copy / f"audioset/balanced_train_segments/Y{DASH}.wav").unlink()
    # Readers list files and do not open them.
    (copy / "audioset/balanced_train_segments" / name).write_bytes(b"")
    assert (DASH in by_id(read(copy))) is used


def test_of_two_segments_of_a_video_the_listed_one_is_used(copy):
    folder = copy / "audioset/balanced_train_segments"
    (folder / f"Y{DASH}.wav").unlink()
    wav(folder / f"{DASH}_120000.wav")  # sorts first
    wav(folder / f"{DASH}_30000.wav")
    manifest = read(copy)
    assert by_id(manifest)[DASH].sound.where.endswith(f"{DASH}_30000.wav")
    assert any("1 files bear the id" in note for note in manifest.notes)


def test_archives_are_read_in_place(copy):
    root = copy / "audioset"
    audio = root / f"balanced_train_segments/Y{DASH}.wav"
    with zipfile.ZipFile(root / "balanced.zip", "w") as archive:
        archive.write(audio, f"balanced/Y{DASH}.wav")
    audio.unlink()
    audio = root / f"eval/{AFTER_WHY}.wav"
    with tarfile.open(root / "eval.tar", "w") as archive:
        archive.add(audio, f"./eval/{AFTER_WHY}.wav")
    audio.unlink()
    clips = by_id(read(copy))
    assert clips[DASH].sound.container.endswith("balanced.zip")
    assert clips[AFTER_WHY].sound.container.endswith("eval.tar")
    assert len(clips[AFTER_WHY].sound.load(16000)) == 160


def test_lists_in_their_own_folder(copy):
    root = copy / "audioset"
    (root / "metadata").mkdir()
    for path in root.glob("*.csv"):
        path.rename(root / "metadata" / path.name)
    assert len(read(copy).clips) == 4


def test_attrition_is_counted_and_a_thin_copy_is_incomplete(copy):
    manifest = read(copy)
    assert manifest.missing == (GONE,)
    assert "2 of 3 listed train clips are there (66.7%)." in manifest.notes
    assert not any("listed test clips" in note for note in manifest.notes)
    assert "Only 2 test clips are there; a result counts from 15,000." in manifest.notes
    assert "Only 2 train clips are there; a result counts from 1,500,000." in manifest.notes
    assert any("525 of 527 tags have no test clip" in note for note in manifest.notes)
    assert any("eval_segments.csv has 2 rows, not 20,371" in note for note in manifest.notes)


@pytest.mark.parametrize("bare_tags", [0, 1])
def test_a_copy_with_holes_passes_when_every_tag_is_tested(copy, monkeypatch, bare_tags):
    monkeypatch.setattr(audioset, "MIN_CLIPS", {"train": 2, "test": 2})
    every = ",".join(f"/m/{i:03d}" for i in range(527 - bare_tags))
    path = copy / "audioset/eval_segments.csv"
    path.write_text(path.read_text().replace("/m/002", every))
    manifest = read(copy)
    assert manifest.missing == ((GONE,) if bare_tags else ())
    assert "2 of 3 listed train clips are there (66.7%)." in manifest.notes


def test_lists_cut_short_do_not_pass(copy):
    path = copy / "audioset/unbalanced_train_segments.csv"
    path.write_text("".join(x for x in path.open() if not x.startswith(GONE)))
    (text,) = read(copy).missing
    assert "a result counts from 15,000" in text


def replace_in(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"/m/002"', '"/m/999"', r"row 4: '/m/999' is none of the 527 tags"),
        (" 5.000", " five", r"row 4: the start 'five' is not a number"),
        ('"/m/002"', "/m/002,/m/003", r"row 4: 5 cells, not 4"),
        (AFTER_WHY, DASH, rf"lists {DASH} again"),
        (AFTER_WHY, MILLI, rf"lists {MILLI} again"),
    ],
)
def test_malformed_lists(copy, old, new, message):
    replace_in(copy / "audioset/eval_segments.csv", old, new)
    with pytest.raises(HaresError, match=message):
        read(copy)


def test_table_of_tags_must_be_whole_and_in_order(copy):
    path = copy / "audioset/class_labels_indices.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(HaresError, match="526 tags, not 527"):
        read(copy)
    path.write_text("".join([lines[0], lines[2], lines[1], *lines[3:]]))
    with pytest.raises(HaresError, match="row 2: index '1', where 0 is due"):
        read(copy)


def test_absent_data(copy):
    with pytest.raises(HaresError, match=r"class_labels_indices\.csv.*\n1\. Fetch the lists"):
        read(copy / "elsewhere")
    with pytest.raises(HaresError, match="--data_dir"):
        TASK.read(Places())
    for path in copy.rglob("*.wav"):
        path.unlink()
    with pytest.raises(HaresError, match=f"none of the 5 listed clips, such as {DASH}.wav"):
        read(copy)


def test_published_tags(shared_dir, copy):
    published = shared_dir / "metadata/audioset/class_labels_indices.csv"
    names = audioset.tag_names(published)
    assert len(names) == 527 == len(set(names.values()))
    assert list(names.items())[1] == ("/m/05zppz", "Male speech, man speaking")


def test_clips_are_in_the_order_of_the_lists(copy):
    assert [clip.id for clip in read(copy).clips] == [DASH, WHY, AFTER_WHY, MILLI]
