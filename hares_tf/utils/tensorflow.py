"""Opens TensorFlow: without its start-up messages, and with float32 that is float32."""

import atexit
import contextlib
import functools
import hashlib
import os
import re
import shutil
import sys
import tempfile
from types import ModuleType

from hares_tf.utils.quiet import quiet_start

_PATTERN = re.compile(r"[\[\]*?\\]")


def import_tensorflow() -> ModuleType:
    """Imports TensorFlow and keeps float32 exact; what it prints shows only if the import fails.

    Returns:
        The module `tensorflow`.
    """
    if "tensorflow" not in sys.modules:
        with quiet_start():
            import tensorflow  # noqa: F401
    import tensorflow as tf

    keep_float32()
    return tf


def literal_path(path: str | os.PathLike) -> str:
    """Returns a path of an existing folder that TensorFlow does not take for a pattern.

    Its readers of SavedModels expand `[`, `]`, `*`, `?` and backslashes, so that they find nothing
    in a folder named `model [1]`. Such a folder is given as a link to it with a plain name. The
    link lives as long as the process, because a loaded module may be saved again, with its assets.
    """
    path = os.path.realpath(path)
    if not _PATTERN.search(path):
        return path
    link = os.path.join(_folder_of_links(), hashlib.sha256(os.fsencode(path)).hexdigest()[:16])
    with contextlib.suppress(FileExistsError):
        os.symlink(path, link)
    return link


@functools.cache
def _folder_of_links() -> str:
    folder = tempfile.mkdtemp(prefix="hares-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def keep_float32() -> None:
    """Makes TensorFlow compute float32 products in float32.

    Otherwise GPUs multiply float32 matrices in TF32 (a mantissa of 10 bits) and TPUs in bfloat16,
    which would undo what the frontend, the gates and the losses keep in float32 for a reason.
    mixed_bfloat16 is the way to trade precision for speed.
    """
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
