"""What every hares_tf command shares: flags, a help that teaches, quiet logs, and clean endings.

Commands define absl flags on a private `FlagValues`, so that they can be called as functions
(from tests, from other commands) without leaving global state behind. Exit codes: 0 done, 2 a
mistake the user can fix (one sentence on stderr, no traceback), 130 interrupted, 141 nobody reads
what is printed.
"""

import logging
import os
import re
import select
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence

from absl import flags

from hares_tf.utils.errors import HaresError

HELP_WIDTH = 100


def run(
    name: str,
    description: str,
    flag_values: flags.FlagValues,
    main: Callable[..., int | None],
    argv: Sequence[str] | None = None,
    positionals: bool = False,
) -> int:
    """Parses `argv`, calls `main(flag_values)`, gives the exit code.

    Args:
        name: the command's name, used in front of messages.
        description: what the command does, with examples; shown by `--help`.
        flag_values: the command's own flags.
        main: does the work; its return value, if not None, is the exit code.
        argv: arguments without the program name; default: those of the process.
        positionals: whether arguments without a flag are welcome; `main` then gets their list as
            its second argument.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    # TensorFlow's warnings (retracing for a new length, where assets went) ask for nothing a user
    # of a command could do.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        status = _run(name, description, flag_values, main, argv, positionals)
        if sys.stdout is not None:
            sys.stdout.flush()  # a reader that is gone is noticed here, not at the very end
        return status
    except (flags.Error, HaresError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        if isinstance(error, flags.Error):
            print(f"See `{name} --help`.", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 128 + signal.SIGPIPE
        # Full disks, missing permissions, paths that are not folders: the system's own words.
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"{name}: {where}{error.strerror or error}; check the path, its permissions and the "
            "free space",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted; finished parts are kept", file=sys.stderr)
        return 130


def _nobody_reads() -> bool:
    """Whether the reader of stdout is gone, as with `| head`; then what is left goes nowhere."""
    try:
        number = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # there is none, or it is no open file
        return False
    poll = select.poll()
    poll.register(number, 0)
    gone = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return gone


def _run(name, description, flag_values, main, argv: list, positionals: bool) -> int:
    if any(argument in ("--help", "-h", "-help") for argument in argv):
        print(help_text(name, description, flag_values))
        return 0
    leftover = flag_values([name, *argv])[1:]
    if positionals:
        return main(flag_values, leftover) or 0
    if leftover:
        raise HaresError(
            f"unexpected argument {leftover[0]!r}; every option is written --name=value"
        )
    return main(flag_values) or 0


def help_text(name: str, description: str, flag_values: flags.FlagValues) -> str:
    """The text of `--help`: the description, then every flag with its default."""
    lines = [f"{name}: {textwrap.dedent(description).strip()}", "", "Flags:"]
    for flag_name in flag_values:
        flag = flag_values[flag_name]
        lines.append(f"  --{flag_name}{_value_hint(flag)}")
        text = _own_words(flag)
        if flag.default not in (None, [], "", False):
            text += f" (default: {_default_text(flag)})"
        lines.extend(
            textwrap.wrap(text, HELP_WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
        )
    return "\n".join(lines)


def _own_words(flag: flags.Flag) -> str:
    """The flag's help without what absl adds: the choices in front, the usage behind."""
    return re.sub(
        r"^<.*?>: |[;\s]*repeat this option.*$|\s*\(a comma separated list\)$",
        "",
        flag.help,
        flags=re.DOTALL,
    )


def _value_hint(flag: flags.Flag) -> str:
    if flag.boolean:
        return ""
    choices = getattr(flag.parser, "enum_values", None)
    return "=" + ("|".join(choices) if choices else flag.name.upper())


def _default_text(flag: flags.Flag) -> str:
    default = flag.default
    return ",".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)
