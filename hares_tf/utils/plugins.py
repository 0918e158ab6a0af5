"""Modules of users that register encoders and objectives, imported by name or by path."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from hares_tf.utils.errors import HaresError, reason


class PluginError(HaresError):
    """A plugin that cannot be imported."""


def load_plugin(name: str) -> ModuleType:
    """Imports a plugin, which runs its code.

    Args:
        name: a module that Python finds, or the path of a Python file.

    Raises:
        PluginError: there is no such file or module, or importing it fails.
    """
    path = Path(name)
    if path.suffix != ".py":
        try:
            return importlib.import_module(name)
        except Exception as error:  # the code of a user may raise anything
            raise PluginError(f"The plugin {name} cannot be imported ({reason(error)}).") from error
    if not path.is_file():
        raise PluginError(f"--plugin={name}: there is no such file.")
    # One name for a file, so that it is imported once and its classes can be found again.
    module_name = path.stem
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # as above
        del sys.modules[module_name]
        raise PluginError(f"The plugin {name} cannot be imported ({reason(error)}).") from error
    return module
