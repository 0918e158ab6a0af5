"""Every command line that a help text, README, a guide or the Makefile shows can be parsed."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from hares_tf.commands.program import Command

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "Makefile", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
)
_COMMAND = re.compile(r"^(hares-[a-z-]+) (.*)$", re.MULTILINE)


def _command(script: str) -> Command:
    module = script.removeprefix("hares-").replace("-", "_")
    return importlib.import_module(f"hares_tf.commands.{module}").COMMAND


def _command_lines(code: str) -> Iterator[tuple[str, list[str]]]:
    for script, rest in _COMMAND.findall(re.sub(r"\\\n\s*", " ", code)):
        if "..." not in rest and "--help" not in rest:
            yield script, shlex.split(rest, comments=True)


def _code(path: Path) -> str:
    """The code of a page: what stands between fences, or the recipes of a Makefile."""
    text = path.read_text(encoding="utf-8")
    if path.name != "Makefile":
        return "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    text = re.sub(r"\$\(\w+:%=(.*?)%\)", r"\1X", text.replace("\t$(BIN)/", ""))
    return re.sub(r"\$\(\w+\)", "X", text)


HELP = [
    f"{path.stem}"
    for path in (ROOT / "hares_tf" / "commands").glob("*.py")
    if path.stem not in ("__init__", "declaration", "flags", "program")
]


@pytest.mark.parametrize("name", sorted(HELP))
def test_examples_of_the_help(name):
    command = importlib.import_module(f"hares_tf.commands.{name}").COMMAND
    indented = "\n".join(re.findall(r"^    .*$", command.description, re.MULTILINE))
    lines = list(_command_lines(re.sub(r"^    ", "", indented, flags=re.MULTILINE)))
    assert len([script for script, _ in lines if script == command.name]) >= 2
    _parse(lines)


@pytest.mark.parametrize("page", [p for p in PAGES if p.exists()], ids=lambda page: page.stem)
def test_commands_of_the_pages(page):
    _parse(_command_lines(_code(page)))


def _parse(lines) -> None:
    for script, arguments in lines:
        # Changes of the configuration are not flags.
        flags = [argument for argument in arguments if not argument.startswith("--config.")]
        _command(script).parse(flags)
