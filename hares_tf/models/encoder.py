"""The contract of an encoder: what pretraining, export and the tests use, and nothing else."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import keras

from hares_tf.models.draws import Draw
from hares_tf.models.errors import ModelError


class Encoder(keras.Model):
    """Base class: waveform `[batch, samples]` in [-1, 1] -> embedding `[batch, dim]`.

    A subclass has `sample_rate`, `embedding_size`, `build` and `embed`, and overrides of the rest
    what differs from the defaults here. `WaveformEncoder` is the usual one: a spectrogram frontend,
    a standardization and a network. An encoder without a frontend embeds waveforms.

    Attributes:
        sample_rate: of the waveforms, in Hz.
        embedding_size: number of features.
        frame_hop: samples from one step of `embedding_and_frames` to the next; None for an encoder
            without features over time.
        min_samples: the smallest number of samples that it accepts.
        examples_independent: whether the embedding of an example does not depend on the other
            examples of its batch, in training too. False with batch normalization; gradient
            caching is refused then.
        training_draws: the random numbers that a call with `training=True` needs, by name. Without
            `draws` the encoder draws them from a Keras seed generator.
        mixing_domains: in which representations two examples can be mixed, see `inputs`.
        has_silent_branches: whether fresh weights leave branches without effect (skip gains of 0),
            which `awake` changes for tests.
    """

    sample_rate: int
    embedding_size: int
    frame_hop: int | None = None
    min_samples: int = 1
    examples_independent: bool = True
    training_draws: Mapping[str, Draw] = MappingProxyType({})
    mixing_domains: tuple[str, ...] = ("waveform", "none")
    has_silent_branches: bool = False

    def __init__(self, **kwargs):
        # Keras casts the inputs of a layer with a mixed policy, here the waveform, whose quiet
        # parts and small differences bfloat16 would erase. The stages cast for themselves.
        super().__init__(autocast=False, **kwargs)

    @property
    def is_stochastic(self) -> bool:
        """Whether two calls with `training=True` give different embeddings of one waveform."""
        return bool(self.training_draws)

    def inputs(self, waveform, mix: Callable | None = None, domain: str = "none"):
        """The input of `embed`; nothing in it is trained.

        Args:
            waveform: `[batch, samples]` in [-1, 1].
            mix: mixes the examples of a batch: a tensor -> a tensor of the same shape.
            domain: one of `mixing_domains`, where `mix` is applied.

        Returns:
            `[batch, ...]`; here the waveform itself.

        Raises:
            ModelError: examples cannot be mixed in this domain.
        """
        self.check_domain(domain)
        return waveform if mix is None or domain == "none" else mix(waveform)

    def check_domain(self, domain: str) -> None:
        """Raises ModelError if examples cannot be mixed in `domain`."""
        if domain not in self.mixing_domains:
            raise ModelError(
                f"Examples of {self.name} cannot be mixed in {domain!r}; choose one of "
                f"{', '.join(self.mixing_domains)}."
            )

    def embed(self, inputs, training: bool | None = None, draws: dict | None = None):
        """The trained part: result of `inputs` -> embedding `[batch, embedding_size]`.

        Args:
            inputs: `[batch, ...]`.
            training: whether this is a training step.
            draws: tensors by the names of `training_draws`; None: the encoder draws by itself.
        """
        raise NotImplementedError

    def call(self, waveform, training=None, draws=None):
        return self.embed(self.inputs(waveform), training=training, draws=draws)

    def embedding_and_frames(self, waveform, training: bool | None = None):
        """The embedding, and the features before they are pooled over time.

        Only if `frame_hop` is not None.

        Returns:
            `[batch, dim]` and `[batch, ceil(samples / frame_hop), features]`, at least one step.
        """
        raise NotImplementedError

    def folded(self, precision: str) -> Callable | None:
        """The inference form of the encoder for the serving flavor.

        Args:
            precision: "float32" or "bfloat16", the type of kernels and of products.

        Returns:
            A callable with a list `variables`: waveform -> `(embedding, frames or None)`, computed
            from the weights as they are now. None if the encoder has no such form; it is then
            served as it is, in float32.
        """
        return None

    @contextlib.contextmanager
    def awake(self) -> Iterator[list]:
        """Gives branches that fresh weights silence an effect; yields the changed variables."""
        yield []

    def frontend_config(self) -> dict:
        """Returns the constants of the frontend for the model card; the default is no frontend."""
        return {"kind": "none"}

    def compute_output_shape(self, input_shape, **_):
        return (input_shape[0], self.embedding_size)

    def compute_output_spec(self, waveform, **_):
        return keras.KerasTensor((waveform.shape[0], self.embedding_size), self.variable_dtype)
