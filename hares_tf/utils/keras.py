"""Explains why Keras cannot be imported, and makes commands independent of its settings."""

import os
from types import TracebackType

from hares_tf.utils.errors import HaresError, reason

# Modules that read keras.json when they are imported. TensorFlow has an old copy of Keras.
_READERS = ("keras", "tensorflow.python.keras.backend")


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
            f"{purpose} needs Keras on TensorFlow, but {keras.backend.backend()} is chosen by "
            f"{_origin()}; set KERAS_BACKEND=tensorflow."
        )
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")


def import_problem(error: BaseException) -> KerasError | None:
    """Returns a sentence about an error that Keras raised while it was imported, else None.

    Keras raises whatever the backend's import or a wrong value in keras.json raises.
    """
    if not isinstance(error, Exception) or not _raised_in_import_of_keras(error.__traceback__):
        return None
    advice = "install what it needs, or set KERAS_BACKEND=tensorflow"
    if not os.environ.get("KERAS_BACKEND"):
        advice = "correct or remove the file"
    return KerasError(
        f"Keras cannot be imported as it is set up by {_origin()}: {reason(error)}; {advice}."
    )


def _origin() -> str:
    """Returns what chooses Keras' backend: the environment, or else a file."""
    if chosen := os.environ.get("KERAS_BACKEND"):
        return f"KERAS_BACKEND={chosen}"
    # As Keras finds it.
    home = os.path.expanduser("~")
    home = home if os.access(home, os.W_OK) else "/tmp"
    folder = os.environ.get("KERAS_HOME") or os.path.join(home, ".keras")
    return os.path.join(folder, "keras.json")


def _raised_in_import_of_keras(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") in _READERS:
            return True
        traceback = traceback.tb_next
    return False
