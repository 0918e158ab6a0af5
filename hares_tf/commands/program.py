"""Runs a command: parses flags, checks their rules, prints the help, and ends with an exit code.

Commands define absl flags on a private `FlagValues`, so that they can be called as functions (from
tests, from other commands) without leaving global state behind. Exit codes: 0 done; 2 a mistake
that the user can correct (one sentence on stderr, no traceback without `--debug`); 130 interrupted;
143 terminated; 141 the reader of stdout is gone.
"""

import contextlib
import difflib
import io
import logging
import os
import re
import select
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from absl.flags import Error, FlagValues, UnrecognizedFlagError

from hares_tf.commands.declaration import (
    SWITCH,
    Exclusive,
    Flag,
    ListParser,
    NumberOr,
    UsageError,
    build,
    check,
    choices_of,
    expected,
    flat,
)
from hares_tf.utils.errors import HaresError
from hares_tf.utils.keras import import_problem

HELP_WIDTH = 100
DEBUG = Flag(
    "debug", "Show where an error comes from: its traceback, not only its sentence.", False, SWITCH
)


@dataclass(frozen=True)
class Command:
    """A command-line program.

    Attributes:
        name: as it is installed; put in front of messages.
        description: what the command does, with examples; shown by `--help`.
        groups: the flags, by the headings of the help. `--debug` is added.
        run: does the work with the parsed flags; its return value, if not None, is the exit code.
        exclusive: groups of flags that exclude each other.
        positional: name of the flag that arguments without a flag are values of.
        interrupted: what is said to have become of the work after Ctrl-C or SIGTERM.
    """

    name: str
    description: str
    groups: Mapping[str, Sequence[Flag]]
    run: Callable[[Any], int | None]
    exclusive: Sequence[Exclusive] = ()
    positional: str | None = None
    interrupted: str = "finished parts are kept"

    @property
    def all_flags(self) -> list[Flag]:
        """All flags, `--debug` included."""
        return [*flat(self.groups), DEBUG]

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Runs the command.

        Args:
            argv: arguments without the program's name; default: those of the process.

        Returns:
            The exit code.
        """
        argv = list(sys.argv[1:] if argv is None else argv)
        _prepare_streams()
        # Warnings of TensorFlow (retracing for a new length, the place of assets) ask for nothing
        # that the user of a command could do.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        try:
            with _sigterm_raises():
                status = self._run(argv)
            sys.stdout.flush()  # fails here, not at the very end, if the reader is gone
            return status
        except HaresError as error:
            hint = f" See `{self.name} --help`." * isinstance(error, UsageError)
            self._fail(argv, f"{error}{hint}")
            return 2
        except OSError as error:
            if isinstance(error, BrokenPipeError) and _reader_is_gone():
                return 128 + signal.SIGPIPE
            # A full disk, a missing permission, a path that is not a folder: the system's message.
            where = f"{error.filename}: " if error.filename else ""
            self._fail(
                argv,
                f"{where}{error.strerror or error}; check the path, its permissions and the free "
                "space.",
            )
            return 2
        except Exception as error:
            problem = import_problem(error)
            if problem is None:
                raise
            self._fail(argv, str(problem))
            return 2
        except KeyboardInterrupt as error:
            terminated = isinstance(error, _Terminated)
            how = "terminated" if terminated else "interrupted"
            print(f"\n{self.name}: {how}; {self.interrupted}", file=sys.stderr)
            return 128 + (signal.SIGTERM if terminated else signal.SIGINT)

    def _fail(self, argv: list[str], sentence: str) -> None:
        if "--debug" in argv:
            traceback.print_exc()
        print(f"{self.name}: {sentence}", file=sys.stderr)

    def _run(self, argv: list[str]) -> int:
        if any(argument in ("--help", "-h", "-help") for argument in argv):
            print(self.help())
            return 0
        return self.run(self.parse(argv)) or 0

    def parse(self, argv: Sequence[str]) -> FlagValues:
        """Parses a command line and checks the rules between flags.

        Raises:
            UsageError: the command line cannot be meant.
        """
        values = build(self.all_flags)
        try:
            rest = values([self.name, *argv])[1:]
        except Error as error:
            raise UsageError(_sentence(error, values)) from error
        for argument in rest:
            flag = values[self.positional] if self.positional else None
            if flag is None or (flag.present and not isinstance(flag.parser, ListParser)):
                raise UsageError(
                    f"Unexpected argument {argument!r}; every option is written --name=value."
                )
            flag.parse([argument] if isinstance(flag.parser, ListParser) else argument)
        check(values, self.all_flags, self.exclusive)
        return values

    def help(self) -> str:
        """Returns the text of `--help`: the description, then the flags by group."""
        purpose, _, rest = self.description.strip().partition("\n\n")
        lines = [textwrap.fill(f"{self.name}: {purpose}", HELP_WIDTH)]
        lines += ["", rest] if rest else []
        for title, group in {**self.groups, "General": (DEBUG,)}.items():
            lines += ["", f"{title}:"]
            for flag in group:
                lines.append(f"  --{flag.name}{_value_hint(flag)}")
                lines += textwrap.wrap(
                    _help_text(flag),
                    HELP_WIDTH,
                    initial_indent=" " * 6,
                    subsequent_indent=" " * 6,
                )
        if any(getattr(flag.parser, "splits", False) for flag in self.all_flags):
            lines += ["", "The items of a list are separated by commas, or each by its own flag."]
        return "\n".join(lines)


class _Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Makes SIGTERM raise an exception, as Ctrl-C does, so that a command can tidy up.

    Outside the main thread, where signals cannot be caught, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(_number, _frame):
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _prepare_streams() -> None:
    """Makes printing safe: with closed descriptors, and with streams that cannot show every name.

    Where descriptor 1 or 2 is closed, the next file to be opened would get its number, and what
    libraries print would be written into that file.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    # Python has no object for a stream that was closed when it started.
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _reader_is_gone() -> bool:
    """Whether the reader of stdout is gone, as with `| head`; if so, discards further output."""
    try:
        number = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # there is no stdout, or it is not an open file
        return False
    poll = select.poll()
    poll.register(number, 0)
    gone = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return gone


def _sentence(error: Error, values: FlagValues) -> str:
    """Returns an error of absl in this project's style."""
    if isinstance(error, UnrecognizedFlagError):
        near = difflib.get_close_matches(error.flagname, list(values), n=2)
        hint = f"; did you mean {' or '.join(f'--{name}' for name in near)}?" if near else "."
        return f"There is no flag --{error.flagname}{hint}"
    match = re.match(r"flag --(\w+)=(.*?): ", str(error), re.DOTALL)
    if match and match[1] in values:
        return f"--{match[1]}={match[2]}: give {expected(values[match[1]].parser)}."
    return f"{str(error).rstrip('.')}."


def _help_text(flag: Flag) -> str:
    text = flag.help
    if flag.goes_with:
        text += f" Goes with {' or '.join(condition.text for condition in flag.goes_with)}."
    if flag.required is True:
        text += " Required."
    if flag.default not in (None, [], (), "", False):
        default = flag.default
        shown = ",".join(map(str, default)) if isinstance(default, (list, tuple)) else default
        text += f" (default: {str(shown).lower() if flag.parser is SWITCH else shown})"
    return text


def _value_hint(flag: Flag) -> str:
    if flag.parser is SWITCH:
        return f", --no{flag.name}" if flag.default else ""
    if isinstance(flag.parser, NumberOr):
        return f"=NUMBER|{'|'.join(flag.parser.words)}"
    if isinstance(flag.parser, ListParser):
        return f"={flag.name.upper()}" + ",..." * flag.parser.splits
    return "=" + ("|".join(choices_of(flag.parser)) or flag.name.upper())
