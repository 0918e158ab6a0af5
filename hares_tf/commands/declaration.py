"""Declarations of a command's flags and of the rules between them.

A flag is a `Flag`, a table of flags is data, and absl parses it. Rules ("required", "goes with",
"exclude each other") are declared beside the flags and checked before a command begins.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from absl import flags

from hares_tf.utils.errors import HaresError

TEXT: flags.ArgumentParser = flags.ArgumentParser()
SWITCH = flags.BooleanParser()


class UsageError(HaresError):
    """A command line that contradicts itself, or lacks something."""


@dataclass(frozen=True)
class Condition:
    """A condition on the value of a flag, which other flags depend on.

    Attributes:
        flag: the flag's name.
        text: the condition as the user writes it, such as "--protocol=paper".
        holds: whether a value fulfills it.
    """

    flag: str
    text: str
    holds: Callable[[Any], bool] = bool


def given(name: str) -> Condition:
    """The condition that a flag was given (with a value other than false or nothing)."""
    return Condition(name, f"--{name}")


def equals(name: str, value: str) -> Condition:
    """The condition that a flag has a certain value."""
    return Condition(name, f"--{name}={value}", lambda actual: actual == value)


@dataclass(frozen=True)
class Flag:
    """The declaration of a flag.

    Attributes:
        name: written `--name=value`.
        help: one or two sentences.
        default: the value where the flag is not given.
        parser: reads a value: a parser of absl, `ListParser`, or `NumberOr`.
        required: whether the command does not run without it, or the condition for that.
        goes_with: the flag makes sense only where one of these conditions holds.
    """

    name: str
    help: str
    default: Any = None
    parser: flags.ArgumentParser = TEXT
    required: bool | Condition = False
    goes_with: Sequence[Condition] = ()


@dataclass(frozen=True)
class Exclusive:
    """A group of flags of which at most one may be given, and one must be if `required`."""

    names: Sequence[str]
    required: bool | Condition = False


class ListParser(flags.ArgumentParser):
    r"""Reads a list. The flag may also be repeated: the values are joined.

    A separator that belongs to a value is written behind a backslash: `\,`.

    Args:
        choices: the allowed items; default: any.
        separator: a regular expression that begins with a comma; None: repeating is the only way.
    """

    def __init__(self, choices: Sequence[str] = (), separator: str | None = ","):
        self.choices = tuple(choices)
        self.splits = separator is not None
        self._separator = re.compile(rf"(?<!\\){separator}")

    def parse(self, argument: str | Sequence[str]) -> list[str]:
        """Returns the items; raises ValueError for one that is not among the choices."""
        if not isinstance(argument, str):
            return list(argument)
        if not self.splits:
            return [argument]
        items = [item.strip().replace("\\,", ",") for item in self._separator.split(argument)]
        items = [item for item in items if item]
        if self.choices and not set(items) <= set(self.choices):
            raise ValueError
        return items


class NumberOr(flags.ArgumentParser):
    """Reads a whole number or one of some words.

    Args:
        words: the words.
    """

    def __init__(self, *words: str):
        self.words = words

    def parse(self, argument: str | int) -> int | str:
        """Returns the number or the word; raises ValueError for anything else."""
        if argument in self.words or isinstance(argument, int):
            return argument
        if not (argument.isascii() and argument.isdecimal()):
            raise ValueError
        return int(argument)


class _ListFlag(flags.Flag):
    """A flag whose occurrences are joined."""

    def parse(self, argument: str | Sequence[str]) -> None:
        """Adds the items to those of earlier occurrences."""
        items = self._parse(argument)
        earlier: Any = self.value if self.present else ()
        self.value = [*earlier, *(items or ())]
        self.present += 1


def build(declarations: Iterable[Flag]) -> flags.FlagValues:
    """Makes absl flags of declarations, apart from all others of the process."""
    values = flags.FlagValues()
    for declared in declarations:
        name, default, text = declared.name, declared.default, declared.help
        if declared.parser is SWITCH:
            flag: flags.Flag = flags.BooleanFlag(name, bool(default), text)
        else:
            kind = _ListFlag if isinstance(declared.parser, ListParser) else flags.Flag
            flag = kind(declared.parser, flags.ArgumentSerializer(), name, default, text)
        flags.DEFINE_flag(flag, values)
    return values


def check(
    values: flags.FlagValues, declarations: Iterable[Flag], exclusive: Iterable[Exclusive]
) -> None:
    """Checks the declared rules.

    Raises:
        UsageError: a flag stands without the one that it goes with, two exclude each other, or
            one is missing.
    """
    declarations = tuple(declarations)
    for flag in declarations:
        needed = flag.goes_with if values[flag.name].present else ()
        if needed and not any(_holds(condition, values) for condition in needed):
            conditions = " or ".join(condition.text for condition in needed)
            raise UsageError(f"--{flag.name} goes with {conditions}.")
    for group in exclusive:
        present = [name for name in group.names if _is_given(values, name)]
        if len(present) > 1:
            raise UsageError(f"--{present[0]} and --{present[1]} exclude each other; give one.")
        if not present and _holds(group.required, values):
            names = [f"--{name}" for name in group.names]
            raise UsageError(f"Give {', '.join(names[:-1])} or {names[-1]}.")
    required = [flag.name for flag in declarations if _holds(flag.required, values)]
    if missing := [f"--{name}" for name in required if not _is_given(values, name)]:
        verb = "is" if len(missing) == 1 else "are"
        raise UsageError(f"{' and '.join(missing)} {verb} required.")


def _is_given(values: flags.FlagValues, name: str) -> bool:
    return bool(values[name].present and values[name].value)


def _holds(condition: bool | Condition, values: flags.FlagValues) -> bool:
    if isinstance(condition, bool):
        return condition
    return condition.holds(values[condition.flag].value)


def expected(parser: flags.ArgumentParser) -> str:
    """Returns the values that a parser takes, in words."""
    if isinstance(parser, NumberOr):
        return f"a whole number or {' or '.join(parser.words)}"
    if isinstance(parser, flags.BooleanParser):
        return "true or false"
    choices = choices_of(parser)
    return f"one of {', '.join(choices)}" if choices else parser.syntactic_help


def choices_of(parser: flags.ArgumentParser) -> Sequence[str]:
    """Returns the words that a parser takes; none if it takes any."""
    return getattr(parser, "enum_values", None) or getattr(parser, "choices", None) or ()


def flat(groups: Mapping[str, Sequence[Flag]]) -> list[Flag]:
    """Returns the flags of all groups."""
    return [flag for group in groups.values() for flag in group]
