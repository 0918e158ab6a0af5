"""Task files: a good one is read in full; every mistake is a sentence that names the place."""

import pytest

from hares_tf.evaluation.suites import resolve
from hares_tf.evaluation.tasks import Places
from hares_tf.evaluation.tasks.task_file import read_task_file
from hares_tf.utils.errors import HaresError

TOML = """
domain = "environment"
manifest = "list.csv"
window_seconds = 2
[columns]
file = "file"
label = "kind"
split = "split"
"""
ROWS = [
    "file,kind,split",
    "a.wav,dog,train",
    "b.wav,cat,train",
    "c.wav,dog,test",
    "d.wav,cat,validation",
]


@pytest.fixture
def folder(tmp_path):
    for name in "abcd":
        (tmp_path / f"{name}.wav").write_bytes(b"not read when the manifest is")
    (tmp_path / "task.toml").write_text(TOML)
    (tmp_path / "list.csv").write_text("\n".join(ROWS))
    return tmp_path


def _read(folder, data_dir=None):
    return read_task_file(folder / "task.toml", data_dir).read(Places())


def test_defaults_and_content(folder):
    task = read_task_file(folder / "task.toml")
    assert (task.id, task.version, task.head, task.metric) == ("task", 1, "linear", "accuracy")
    assert task.windows.seconds == 2.0
    manifest = task.read(Places())
    assert [(clip.id, clip.label, clip.part) for clip in manifest.clips] == [
        ("a.wav", "dog", "train"),
        ("b.wav", "cat", "train"),
        ("c.wav", "dog", "test"),
        ("d.wav", "cat", "validation"),
    ]
    assert manifest.labels.names == ("cat", "dog") and manifest.n_excluded == 0


def test_rows_without_split_are_excluded_and_counted(folder):
    (folder / "list.csv").write_text("\n".join([*ROWS, "missing.wav,dog,", "also.wav,cat, "]))
    manifest = _read(folder)
    assert len(manifest.clips) == 4 and manifest.n_excluded == 2


def test_data_dir_is_the_root(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("declarations")
    (elsewhere / "task.toml").write_text(TOML)
    assert len(_read(elsewhere, data_dir=folder).clips) == 4


def test_a_byte_order_mark_is_no_part_of_the_first_column(folder):
    (folder / "list.csv").write_bytes(b"\xef\xbb\xbf" + "\n".join(ROWS).encode())
    assert len(_read(folder).clips) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("domain", "sea"), ["domain", "sea", "speech"]),
        (("window_seconds", 0), ["window_seconds", "0"]),
        (("window_seconds", "long"), ["window_seconds"]),
        (("head", "forest"), ["head", "forest", "svm"]),
        (("metric", "joy"), ["metric", "joy", "accuracy"]),
        (("version", 0), ["version"]),
        (("id", "../x"), ["id", "../x"]),
        (("windows", 0), ["windows", "1 to 1000"]),
        (("windows", 1001), ["windows", "1 to 1000"]),
        (("windows", "tiles"), ["windows", "1 to 1000"]),
        (("window", 3), ["window", "window_seconds"]),
        (("head", "svm"), ["svm", "fold"]),
    ],
)
def test_bad_values(folder, change, words):
    key, value = change
    lines = [line for line in TOML.strip().splitlines() if not line.startswith(f"{key} =")]
    lines.insert(0, f"{key} = {value if isinstance(value, int) else repr(value)}")
    (folder / "task.toml").write_text("\n".join(lines))
    with pytest.raises(HaresError) as error:
        read_task_file(folder / "task.toml")
    for word in [*words, "task.toml"]:
        assert word in str(error.value)


def test_windows_per_clip(folder):
    (folder / "task.toml").write_text("windows = 2\n" + TOML)
    windows = read_task_file(folder / "task.toml").windows
    assert (windows.test, windows.count) == ("spread", 2)


@pytest.mark.parametrize("key", ["domain", "manifest", "window_seconds"])
def test_missing_keys(folder, key):
    text = "\n".join(line for line in TOML.splitlines() if not line.startswith(key))
    (folder / "task.toml").write_text(text)
    with pytest.raises(HaresError, match=key):
        read_task_file(folder / "task.toml")


def test_two_columns_of_one_name(folder):
    with _with_rows(folder, "file,kind,split,kind", *[f"{row},x" for row in ROWS[1:]]) as error:
        _read(folder)
    assert "more than one column 'kind'" in str(error.value)


def test_a_byte_order_mark_in_the_task_file(folder):
    (folder / "task.toml").write_bytes(b"\xef\xbb\xbf" + TOML.encode())
    assert len(_read(folder).clips) == 4


def test_not_toml(folder):
    (folder / "task.toml").write_text("domain = sea = ship")
    with pytest.raises(HaresError, match="not valid TOML"):
        read_task_file(folder / "task.toml")


def _with_rows(folder, *rows):
    (folder / "list.csv").write_text("\n".join(rows))
    return pytest.raises(HaresError)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("e.wav,dog,train", ["row 6", "e.wav", "does not exist"]),
        ("a.wav,dog,train", ["row 6", "a.wav", "twice", "row 2"]),
        ("./a.wav,dog,train", ["row 6", "a.wav", "twice", "row 2"]),
        ("a.wav,dog,test", ["row 6", "a.wav", "two splits", "row 2"]),
        ("../a.wav,dog,train", ["row 6", "../a.wav", "outside"]),
        ("/etc/passwd,dog,train", ["row 6", "/etc/passwd", "outside"]),
        (".,dog,train", ["row 6", "folder"]),
        ("a.wav,dog,training", ["row 6", "training", "validation"]),
        ("a.wav,,train", ["row 6", "no label"]),
        (",dog,train", ["row 6", "file"]),
        ("e.wav,dog", ["row 6", "2 cells", "3 columns"]),
        ("e.wav,dog,train,more", ["row 6", "4 cells", "3 columns"]),
        (f"{'e' * 300}.wav,dog,train", ["row 6", "does not exist"]),
    ],
)
def test_bad_rows_are_named(folder, row, words):
    with _with_rows(folder, *ROWS, row) as error:
        _read(folder)
    for word in [*words, "list.csv"]:
        assert word in str(error.value)


def test_unknown_label_in_test_names_the_row(folder):
    with _with_rows(folder, *ROWS[:3], "c.wav,cow,test") as error:
        _read(folder)
    assert "row 4" in str(error.value) and "cow" in str(error.value)


def test_missing_column_lists_what_there_is(folder):
    with _with_rows(folder, "file,label,split", *ROWS[1:]) as error:
        _read(folder)
    assert "'kind'" in str(error.value) and "file, label, split" in str(error.value)


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([], "no column"),
        (ROWS[:1], "no row takes part"),
        (ROWS[:3], "'test'"),
        ([ROWS[0], ROWS[3]], "one label"),
        ([ROWS[0], ROWS[1], "b.wav,dog,test"], "one label"),
    ],
)
def test_manifests_that_cannot_be_scored(folder, rows, word):
    with _with_rows(folder, *rows) as error:
        _read(folder)
    assert word in str(error.value)


def test_missing_manifest_and_manifest_outside_the_root(folder):
    (folder / "list.csv").unlink()
    with pytest.raises(HaresError, match=r"list\.csv"):
        _read(folder)
    (folder / "task.toml").write_text(TOML.replace("list.csv", "../list.csv"))
    with pytest.raises(HaresError, match="outside"):
        _read(folder)


def test_binary_manifest(folder):
    (folder / "list.csv").write_bytes(bytes(range(256)))
    with pytest.raises(HaresError, match="not a table in UTF-8"):
        _read(folder)


FOLDS = TOML.replace("split", "fold").replace("[columns]", 'head = "svm"\n[columns]')


def test_folds(folder):
    (folder / "task.toml").write_text(FOLDS)
    rows = ["file,kind,fold"]
    for index, (label, fold) in enumerate((lab, f) for lab in ("dog", "cat") for f in (1, 2, 3)):
        (folder / f"{index}.wav").touch()
        rows.append(f"{index}.wav,{label},{fold}")
    (folder / "list.csv").write_text("\n".join(rows))
    assert _read(folder).folds == ("1", "2", "3")
    with _with_rows(folder, *rows[:-1]) as error:
        _read(folder)
    assert "'cat'" in str(error.value) and "2 fold" in str(error.value)


def test_tags_are_separated_by_semicolons_and_may_be_none(folder):
    (folder / "task.toml").write_text('labels = "tags"\n' + TOML)
    rows = [ROWS[0], "a.wav,dog; bark,train", "b.wav,,train", "c.wav,bark;bark,test"]
    (folder / "list.csv").write_text("\n".join(rows))
    manifest = _read(folder)
    assert [clip.label for clip in manifest.clips] == [("dog", "bark"), (), ("bark",)]
    assert (manifest.labels.kind, manifest.labels.names) == ("tags", ("bark", "dog"))
    assert read_task_file(folder / "task.toml").metric == "mean_average_precision"


def test_slots_are_several_columns(folder):
    toml = 'labels = "slots"\n' + TOML.replace('label = "kind"', 'label = ["kind", "size"]')
    (folder / "task.toml").write_text(toml)
    rows = ["file,kind,size,split", "a.wav,dog,big,train", "b.wav,cat,small,train"]
    (folder / "list.csv").write_text("\n".join([*rows, "c.wav,cat,big,test"]))
    manifest = _read(folder)
    assert [clip.label for clip in manifest.clips][-1] == ("cat", "big")
    assert manifest.labels.names == ("kind=cat", "kind=dog", "size=big", "size=small")
    assert read_task_file(folder / "task.toml").metric == "exact_match"
    with _with_rows(folder, *rows, "c.wav,cat,huge,test") as error:
        _read(folder)
    assert "'huge'" in str(error.value) and "row 4" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('label = "kind"', 'label = ["kind"]', "two or more"),
        ("window_seconds = 2\n", 'window_seconds = 2\nhead = "best"\n', "linear"),
        ("window_seconds = 2\n", 'window_seconds = 2\nhead = "svm"\n', "apart"),
        ("window_seconds = 2\n", 'window_seconds = 2\nmetric = "accuracy"\n', "exact_match"),
    ],
)
def test_slots_that_cannot_be(folder, old, new, word):
    toml = 'labels = "slots"\n' + TOML.replace(old, new)
    (folder / "task.toml").write_text(toml.replace('label = "kind"', 'label = ["kind", "file"]'))
    with pytest.raises(HaresError, match=word):
        _read(folder)


def test_ids_of_hares_tasks_are_taken(folder):
    (folder / "task.toml").write_text('id = "voxforge"\n' + TOML)
    with pytest.raises(HaresError, match="voxforge"):
        _read(folder)


def test_names_are_resolved_with_hints(folder):
    with pytest.raises(HaresError, match="mini_nsynth_pitch"):
        resolve(["mini_nsynth_pich"])
    with pytest.raises(HaresError, match=r"task\.toml"):
        resolve([str(folder / "task")])
    with pytest.raises(HaresError, match="No task"):
        resolve([])
    (folder / "other.toml").write_text('id = "task"\n' + TOML)
    with pytest.raises(HaresError, match="Two tasks"):
        resolve([str(folder / "task.toml"), str(folder / "other.toml")])
