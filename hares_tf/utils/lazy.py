"""Package attributes that load on first use (PEP 562).

Importing a package must not import Keras or TensorFlow: commands print their help, and recognize
finished work, in a fraction of a second.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any

from hares_tf.utils.keras import import_problem
from hares_tf.utils.quiet import quiet_start

# Where one of them is imported, or being imported, there is nothing to hide any more.
_STARTED = {"tensorflow", "keras"}


def load(path: str) -> Any:
    """Imports a module and returns an object in it.

    Where this imports TensorFlow first, its messages about CUDA and processors are hidden, unless
    TF_CPP_MIN_LOG_LEVEL is set; those of its start ignore that variable.

    Args:
        path: "module:name".

    Raises:
        KerasError: Keras cannot be imported as it is set up.
    """
    module, name = path.split(":")
    try:
        if _STARTED & sys.modules.keys():
            return getattr(importlib.import_module(module), name)
        with quiet_start():
            return getattr(importlib.import_module(module), name)
    except Exception as error:
        if problem := import_problem(error):
            raise problem from error
        raise


def attach(package: str, homes: dict[str, str]) -> tuple[Callable, Callable, list[str]]:
    """Creates the lazy attributes of a package.

    Args:
        package: the package's `__name__`.
        homes: by public name, the submodule that defines it.

    Returns:
        `__getattr__`, `__dir__` and `__all__` for the package to define.
    """

    def __getattr__(name: str):
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = load(f"{package}.{homes[name]}:{name}")
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return __getattr__, __dir__, sorted(homes)
