"""The exception of the fine-tuning package."""

import contextlib
from collections.abc import Iterator

from hares_tf.utils.errors import HaresError


class FinetuneError(HaresError):
    """Recordings, a handle or an option that cannot be used as it is."""


class NotFiniteError(FinetuneError):
    """An encoder that gives NaN or infinite embeddings."""


@contextlib.contextmanager
def as_finetune_errors() -> Iterator[None]:
    """Lets what the other packages find wrong be said by this one."""
    try:
        yield
    except FinetuneError:
        raise
    except HaresError as error:
        raise FinetuneError(str(error)) from error
