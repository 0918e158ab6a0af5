"""The style of error messages, of every `raise` of a `HaresError` with a literal text.

One or two sentences that begin with a capital letter, a flag, a name or a value, and end with a
period.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

# A name of the code or of a file: learning_rate, crops.seconds, setup.cfg, TF_CONFIG.
_NAME = re.compile(r"[\w-]+[_.]\w")
# Inserted values that are sentences themselves: a message, a hint, steps to obtain a data set.
_SENTENCES = ("error", "hint", "explanation", "obtain")
_VALUE = "\0"


def _trees(repository: Path) -> Iterator[tuple[str, ast.Module]]:
    package = repository / "hares_tf"
    for path in sorted(package.rglob("*.py")):
        yield path.relative_to(package).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def _error_names(trees: list[tuple[str, ast.Module]]) -> set[str]:
    """Names of the subclasses of HaresError."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for _, tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    names = {"HaresError"}
    while more := {name for name in bases if bases[name] & names} - names:
        names |= more
    return names


def _text(node: ast.expr) -> str | None:
    """The text of an expression, with NUL for inserted values; None if it is not literal."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [_text(node.left), _text(node.right)]
        return None if None in parts else "".join(parts)
    if isinstance(node, ast.JoinedStr):
        parts = []
        for value in node.values:
            if isinstance(value, ast.Constant):
                parts.append(value.value)
            elif getattr(value.value, "id", getattr(value.value, "attr", "")) in _SENTENCES:
                parts.append(_VALUE + ".")
            else:
                parts.append(_VALUE)
        return "".join(parts)
    return None


def fault(text: str) -> str | None:
    """What is wrong with a message; None if nothing is."""
    begins_well = text[:1].isupper() or text.startswith(("--", _VALUE, "'", '"', "`", "/"))
    if not begins_well and not _NAME.match(text):
        return "begins with a lower-case letter"
    if not text.endswith((".", "?")):
        return "does not end with a period"
    return None


def _faults(repository: Path) -> list[str]:
    trees = list(_trees(repository))
    names = _error_names(trees)
    faults = []
    for file, tree in trees:
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
                continue
            call = node.exc
            if getattr(call.func, "id", getattr(call.func, "attr", "")) not in names:
                continue
            text = _text(call.args[0]) if call.args else None
            if text is not None and (problem := fault(text)):
                faults.append(f"{file}:{node.lineno} {problem}: {text.replace(_VALUE, '...')}")
    return faults


def test_messages_are_sentences(repository):
    wrong = list(_faults(repository))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("There is no such file.", True),
        ("--views goes with --protocol=paper.", True),
        (f"{_VALUE} is not a SavedModel.", True),
        ("learning_rate must be positive.", True),
        ("Unknown task; did you mean esc50?", True),
        ("there is no such file.", False),
        ("There is no such file", False),
        ("There is no such file.\n", False),
        (f"It fails: {_VALUE}", False),
    ],
)
def test_the_rule(text, good):
    assert (fault(text) is None) == good
