"""Imports modules of users, by name or by path: encoders, objectives, configurations, tasks."""

import hashlib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from hares_tf.utils.errors import HaresError, reason


class UserCodeError(HaresError):
    """A user's module that cannot be imported."""


def import_user_code(source: str, label: str) -> ModuleType:
    """Imports a module, which runs its code. Modules beside it can be imported by it.

    Args:
        source: a module that Python finds from here, or the path of a Python file.
        label: names it in messages, such as "--plugin=mine.py".

    Raises:
        UserCodeError: there is no such file or module, or importing it fails.
    """
    path = Path(source)
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise UserCodeError(f"{label}: There is no such file.")
    # As with `python script.py`.
    folder = str((path.parent if is_file else Path.cwd()).resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return _import_file(path) if is_file else importlib.import_module(source)
    except Exception as error:  # a user's code may raise anything
        raise UserCodeError(
            f"{label} cannot be imported: {reason(error)} ({_place(error)})."
        ) from error


def _import_file(path: Path) -> ModuleType:
    # A file has one name, so that it is imported once and Keras finds its classes again.
    name = path.stem
    known = sys.modules.get(name)
    if known is not None:
        if getattr(known, "__file__", None) == str(path.resolve()):
            return known
        # Another module has this name, such as one of Python's own.
        name = f"{name}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
        if name in sys.modules:
            return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception:
        del sys.modules[name]
        raise
    return module


def _place(error: Exception) -> str:
    """Returns the type of an error, and the line that raised it or imported what did not exist."""
    name = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{name} in {error.filename}, line {error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__
        and not frame.filename.startswith("<frozen")
        and not frame.filename.endswith("importlib/__init__.py")
    ]
    return f"{name} in {frames[-1].filename}, line {frames[-1].lineno}" if frames else name
