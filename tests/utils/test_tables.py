"""Plain-text tables."""

import pytest

from hares_tf.utils.tables import aligned, display_width, pad, text_table


def test_columns_are_aligned_left_and_right_without_trailing_spaces():
    assert aligned([("a", "1", ""), ("long", "100", "x")], right=[1]) == [
        "a       1",
        "long  100  x",
    ]


def test_a_rule_separates_header_and_rows():
    assert text_table(("task", "n"), [("esc50", "2000")], right=[1]) == [
        "task      n",
        "-----  ----",
        "esc50  2000",
    ]
    assert text_table(("task", "n"), []) == ["task  n", "----  -"]


def test_wide_letters_count_two_columns_and_combining_accents_none():
    assert display_width("音a") == 3 and display_width("e\u0301") == 1
    assert pad("音", 4) == "音  " and pad("音", 4, right=True) == "  音"
    assert aligned([("音", "x"), ("abc", "y")]) == ["音   x", "abc  y"]


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError):
        aligned([("a", "b"), ("a",)])
