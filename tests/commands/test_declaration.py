"""Flags: lists, numbers or words, and the rules between flags."""

import pytest
from absl.flags import EnumParser

from hares_tf.commands.declaration import (
    SWITCH,
    Exclusive,
    Flag,
    ListParser,
    NumberOr,
    equals,
    given,
)
from hares_tf.commands.program import Command


def parsed(arguments, *flags, exclusive=(), positional=None):
    """The values of flags, by name; None if the command line was refused."""
    results = []
    command = Command(
        "hares-test",
        "records its flags.",
        {"Flags": flags},
        lambda values: results.append({flag.name: values[flag.name].value for flag in flags}),
        exclusive,
        positional,
    )
    assert command.main(arguments) == (0 if results else 2)
    return results[0] if results else None


NAMES = Flag("names", "Names.", ["x"], ListParser())


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], ["x"]),
        (["--names=a"], ["a"]),
        (["--names=a,b"], ["a", "b"]),
        (["--names=a", "--names=b"], ["a", "b"]),
        (["--names=a,b", "--names=c"], ["a", "b", "c"]),
        (["--names= a , b,"], ["a", "b"]),
        (["--names=a\\,b,c"], ["a,b", "c"]),
        (["--names="], []),
        (["--names=", "--names=a"], ["a"]),
    ],
)
def test_lists_are_repeated_or_separated_by_commas(arguments, names):
    assert parsed(arguments, NAMES) == {"names": names}
    assert NAMES.default == ["x"]


def test_lists_with_other_separators():
    options = Flag("options", "Options.", [], ListParser(separator=",(?=--)"))
    assert parsed(['--options=--a={"x":1,"y":2},--b=3', "--options=--c=4"], options) == {
        "options": ['--a={"x":1,"y":2}', "--b=3", "--c=4"]
    }
    where = Flag("where", "Conditions.", [], ListParser(separator=None))
    assert parsed(["--where=a=1,2", "--where=b=3"], where) == {"where": ["a=1,2", "b=3"]}


def test_lists_of_choices(capsys):
    numbers = Flag("numbers", "Numbers.", ["4"], ListParser(choices=("4", "6")))
    assert parsed(["--numbers=6,4"], numbers) == {"numbers": ["6", "4"]}
    assert parsed(["--numbers=6,5"], numbers) is None
    assert "--numbers=6,5: give one of 4, 6." in capsys.readouterr().err


def test_a_number_or_a_word():
    step = Flag("step", "A step.", None, NumberOr("best"))
    assert parsed([], step) == {"step": None}
    assert parsed(["--step=12"], step) == {"step": 12}
    assert parsed(["--step=best"], step) == {"step": "best"}
    for wrong in ("-1", "1.5", "worst", "²", ""):
        assert parsed([f"--step={wrong}"], step) is None


def test_arguments_without_a_flag():
    assert parsed(["a", "--names=b", "c,d"], NAMES, positional="names") == {
        "names": ["b", "a", "c,d"]
    }
    handle = Flag("handle", "A handle.", required=True)
    assert parsed(["a"], handle, positional="handle") == {"handle": "a"}
    assert parsed(["a", "b"], handle, positional="handle") is None
    assert parsed(["a", "--handle=b"], handle, positional="handle") is None
    assert parsed([], handle, positional="handle") is None


MODE = Flag("mode", "A mode.", "slow", EnumParser(["slow", "fast"]))
LIMIT = Flag("limit", "A limit.", goes_with=(equals("mode", "fast"), given("names")))


def test_a_flag_that_goes_with_another(capsys):
    names = Flag("names", "Names.", [], ListParser())
    assert parsed([], MODE, names, LIMIT)
    assert parsed(["--mode=fast", "--limit=1"], MODE, names, LIMIT)
    assert parsed(["--names=a", "--limit=1"], MODE, names, LIMIT)
    assert parsed(["--limit=1"], MODE, names, LIMIT) is None
    assert "--limit goes with --mode=fast or --names." in capsys.readouterr().err


def test_flags_that_exclude_each_other(capsys):
    flags = [Flag("a", "A."), Flag("b", "B."), Flag("c", "C.", False, SWITCH)]
    group = Exclusive(("a", "b", "c"), required=True)
    assert parsed(["--a=1"], *flags, exclusive=[group]) == {"a": "1", "b": None, "c": False}
    assert parsed(["--c"], *flags, exclusive=[group])
    assert parsed(["--c", "--b=1"], *flags, exclusive=[group]) is None
    assert "--b and --c exclude each other; give one." in capsys.readouterr().err
    assert parsed(["--noc"], *flags, exclusive=[group]) is None
    assert "Give --a, --b or --c." in capsys.readouterr().err
    assert parsed([], *flags, exclusive=[Exclusive(("a", "b"))])


def test_a_flag_that_is_required_sometimes(capsys):
    handle = Flag("handle", "A handle.", required=equals("mode", "fast"))
    assert parsed([], MODE, handle) == {"mode": "slow", "handle": None}
    assert parsed(["--mode=fast"], MODE, handle) is None
    assert "--handle is required." in capsys.readouterr().err
