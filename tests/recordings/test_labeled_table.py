"""Recordings that a table lists, with labels and splits."""

import pytest

from hares_tf.recordings import Columns, RecordingsError, table_source


@pytest.fixture
def folder(tmp_path):
    for name in ("1.wav", "2.wav", "3.wav"):
        (tmp_path / name).write_bytes(b"")  # nothing is decoded
    return tmp_path


def _table(folder, *lines):
    path = folder / "table.csv"
    path.write_text("\n".join(lines))
    return path


def test_labels_parts_and_absent_recordings(folder):
    rows = ("1.wav,b;a;b,train", "2.wav,,test", "gone.wav,c;a,test")
    table = _table(folder, "file,label,split", *rows)
    source = table_source(folder, table, Columns(part="split"))
    assert source.label_names == ("a", "b"), "the labels of recordings that exist"
    assert [(r.id, r.labels, r.part) for r in source.recordings] == [
        ("1.wav", (0, 1), "train"),
        ("2.wav", (), "test"),
    ]
    assert source.rejected == (("gone.wav", "absent"),)
    assert source.n_listed == {"a": 2, "b": 1, "c": 1}, "with those that are absent"


def test_conditions_are_all_fulfilled(folder):
    rows = ("1.wav,a,1,x", "2.wav,a,2,x", "3.wav,a,2,y")
    table = _table(folder, "file,label,fold,site", *rows)
    source = table_source(folder, table, where=[("fold", ("2", "1")), ("site", ("x",))])
    assert [r.id for r in source.recordings] == ["1.wav", "2.wav"]
    assert source.description["where"] == [["fold", ["2", "1"]], ["site", ["x"]]]


@pytest.mark.parametrize(
    ("lines", "columns", "message"),
    [
        (("file,label", "1.wav,a", "./1.wav,b"), Columns(), "line 3: 1.wav is listed already"),
        (("file,label,split", "1.wav,a,dev"), Columns(part="split"), "line 2: split is 'dev'"),
        (("file,label", '1.wav,"a', 'b"'), Columns(), "is a quote not closed"),
        (("file,label",), Columns(), "the table has no rows"),
        (("file,label", "1.wav,a,b"), Columns(), "row 2: 3 cells, but the header has 2"),
        (("file,label,label", "1.wav,a,b"), Columns(), "more than one column 'label'"),
    ],
)
def test_tables_with_mistakes(folder, lines, columns, message):
    with pytest.raises(RecordingsError, match=message):
        table_source(folder, _table(folder, *lines), columns)
