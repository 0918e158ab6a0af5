"""Explains why Keras cannot be imported, and makes commands independent of its settings."""

import os
from types import TracebackType

from hares_tf.utils.errors import HaresError, reason


class KerasError(HaresError):
    """Keras cannot be used as it is set up."""


def require_tensorflow_backend(purpose: str) -> None:
    """Imports Keras on TensorFlow, with float32 as the type of new variables.

    `keras.json` may choose other types, which are meant for programs of the user, not for
    commands with flags of their own.

    Args:
        purpose: what needs TensorFlow, a singular subject of a sentence.

    Raises:
        KerasError: Keras uses another backend.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise KerasError(
            f"{purpose} needs Keras on TensorFlow, but {_origin()}; set KERAS_BACKEND=tensorflow."
        )
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")


def import_problem(error: BaseException) -> KerasError | None:
    """Returns a sentence about an error that Keras raised while it was imported, else None.

    Keras raises whatever the backend's import or a wrong value in keras.json raises.
    """
    if not isinstance(error, Exception) or not _raised_in_import_of_keras(error.__traceback__):
        return None
    return KerasError(
        f"Keras cannot be imported ({reason(error)}). Now {_origin()}; set "
        "KERAS_BACKEND=tensorflow, or install what that backend needs."
    )


def _origin() -> str:
    """Returns a clause about the setting that chooses Keras' backend."""
    if chosen := os.environ.get("KERAS_BACKEND"):
        return f"KERAS_BACKEND is {chosen!r}"
    # As Keras finds it.
    home = os.path.expanduser("~")
    home = home if os.access(home, os.W_OK) else "/tmp"
    folder = os.environ.get("KERAS_HOME") or os.path.join(home, ".keras")
    return f"its settings are those of {os.path.join(folder, 'keras.json')}"


def _raised_in_import_of_keras(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "keras":
            return True
        traceback = traceback.tb_next
    return False
