"""The settings of an evaluation."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.evaluation.encoders.runtime import Runtime
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.protocols import PROTOCOLS, Options, Protocol, make_protocol
from hares_tf.evaluation.tasks import Places
from hares_tf.utils.cache import cache_dir


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation: protocol, folders of data, embeddings and results.

    Attributes:
        protocol: how heads are trained, a key of `protocols.PROTOCOLS`.
        options: choices that the paper leaves open.
        output: folder of the results; one JSON per model and task appears in it.
        store: folder of the embedding store; None: `embeddings` in the user's cache folder.
        data_dir: folder of the data sets, and root of the manifests of task files; None for the
            latter: each file's own folder.
        tfds_dir: folder of data sets that tensorflow-datasets has prepared, or None.
        subset: whether to score the part that is there of an incomplete data set, as incomplete,
            and to leave out tasks whose data set is absent.
        interface: how the modules are called, where they do not state it themselves.
        native_head: the output of the modules that holds their own AudioSet scores, or None. That
            task is then scored by them, without training, as the paper does for supervised models.
        runtime: what computes the embeddings. Embeddings and results of different runtimes and
            precisions are kept apart.
        verify: whether to hash all files again instead of trusting size and modification time.
        progress: "bar", "json" (lines on stderr) or "none".
        names: of the models in results and tables, one for each handle; empty: those of the cards,
            folders and functions.

    Raises:
        EvaluationError: an unknown protocol.
    """

    protocol: str = "fast"
    options: Options = Options()
    output: str | os.PathLike = "results"
    store: str | os.PathLike | None = None
    data_dir: str | os.PathLike | None = None
    tfds_dir: str | os.PathLike | None = None
    subset: bool = False
    interface: Interface = Interface()
    native_head: str | None = None
    runtime: Runtime = Runtime()
    verify: bool = False
    progress: str = "none"
    names: Sequence[str] = ()

    def __post_init__(self):
        if self.protocol not in PROTOCOLS:
            raise EvaluationError(
                f"Unknown protocol {self.protocol!r}; use one of {', '.join(sorted(PROTOCOLS))}."
            )

    @property
    def places(self) -> Places:
        """The folders in which the user keeps data."""
        return Places(_path(self.data_dir), _path(self.tfds_dir))

    @property
    def store_folder(self) -> Path:
        """The folder of the embedding store."""
        return _path(self.store) or cache_dir() / "embeddings"

    @property
    def digest_file(self) -> Path:
        """The database that remembers the digests of the clips' files."""
        return self.store_folder / "digests.sqlite"

    def make_protocol(self) -> Protocol:
        """Returns the protocol with its options."""
        return make_protocol(self.protocol, self.options)


def _path(folder: str | os.PathLike | None) -> Path | None:
    return None if folder is None else Path(folder)
