"""Markdown from plain data."""

from hares_tf.utils.markdown import bullets, grid, plain


def test_markup_in_plain_text_is_escaped():
    assert plain("a|b <i> *c* [d](e) `f` & #1") == (
        "a\\|b &lt;i&gt; \\*c\\* \\[d\\](e) \\`f\\` &amp; \\#1"
    )


def test_plain_text_is_one_line():
    assert plain("  a\nb\t c ") == "a b c"
    assert plain(1.5) == "1.5"


def test_table_escapes_its_cells_and_aligns_its_columns():
    assert grid(("Name", "Clips"), [("a|b", 3)], left=1) == (
        "| Name | Clips |\n| :-- | --: |\n| a\\|b | 3 |"
    )


def test_list_entries_are_markdown():
    assert bullets(["**a**", "b"]) == "- **a**\n- b"
