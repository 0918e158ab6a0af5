"""A model as one task uses it."""

from collections.abc import Callable
from dataclasses import dataclass

from hares_tf.evaluation.embeddings.embedding import PREPROCESSING_VERSION
from hares_tf.evaluation.embeddings.store import EmbeddingSpace, EmbeddingStore
from hares_tf.evaluation.embeddings.windows import Plan
from hares_tf.evaluation.encoders.encoder import Encoder
from hares_tf.evaluation.encoders.handle import ADAPTER_VERSION
from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.evaluation.encoders.runtime import Runtime
from hares_tf.hub.loader import LocatedModule


@dataclass(frozen=True)
class EvaluatedModel:
    """A model, how it is called, and where its embeddings are kept.

    Attributes:
        module: the module, located.
        fingerprint: its content hash; None if nothing says when it changes.
        interface: how it is called, as far as it is stated.
        runtime: what computes the embeddings.
        store: holds the embeddings.
        open_encoder: loads the model when it is called first.
    """

    module: LocatedModule
    fingerprint: str | None
    interface: Interface
    runtime: Runtime
    store: EmbeddingStore
    open_encoder: Callable[[], Encoder]

    def describe(self, windows: dict) -> dict:
        """Returns everything but the clip that an embedding depends on, as JSON data.

        Args:
            windows: the plan of the windows, or several plans by name, as JSON data.
        """
        return {
            "model": self.fingerprint,
            "adapter": ADAPTER_VERSION,
            "interface": self.interface.as_data(),
            "runtime": self.runtime.name,
            "precision": self.runtime.precision,
            "windows": windows,
            "preprocessing": PREPROCESSING_VERSION,
        }

    def space(self, plan: Plan) -> EmbeddingSpace:
        """Returns the model's embeddings of windows under one plan."""
        return self.store.space(self.describe(plan.as_data()))

    def record(self, plan: Plan, embedding_size: int) -> dict:
        """Returns the section "model" of a result, as JSON data.

        Args:
            plan: the windows of the test clips.
            embedding_size: number of features.
        """
        # With all embeddings in the store the model is not loaded; its first run left the notes.
        interface = self.space(plan).notes().get("interface", {})
        return {
            "name": self.module.name,
            "handle": self.module.handle,
            "fingerprint": self.fingerprint,
            "parameters": self.module.card.get("parameters"),
            "training": self.module.card.get("weights"),
            "embedding_size": embedding_size,
            "interface": {**self.interface.as_data(), **interface},
        }
