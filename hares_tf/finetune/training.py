"""Fine-tuning of encoder and head together, by Keras `fit`."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from hares_tf.evaluation.embeddings.windows import random_of
from hares_tf.finetune.clips import Audio, Clip
from hares_tf.finetune.encoder import WaveformEmbedder
from hares_tf.finetune.errors import FinetuneError, NotFiniteError
from hares_tf.finetune.head import Head, Score
from hares_tf.finetune.settings import Settings
from hares_tf.utils.progress import Progress

# Share of the steps in which the learning rate rises, while Adam's estimates settle.
_WARM_UP = 0.1
_PREFETCHED_BATCHES = 2


@dataclass(frozen=True)
class Crops:
    """Random training windows of clips.

    Which crop of which clip a step sees follows from the seed and the step alone.

    Attributes:
        audio: the decoded clips.
        clips: the training clips; each is seen at least once in an epoch.
        window: samples of a crop.
        batch: crops in a step.
        seed: of order and places.
    """

    audio: Audio
    clips: Sequence[Clip]
    window: int
    batch: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches."""
        return math.ceil(len(self.clips) / self.batch)

    def epoch(self, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches of crops float32 `[batch, window]` and classes int32 `[batch]`."""
        random = random_of(f"epoch {number}", self.seed)
        # The last batch is filled up from the beginning of the order.
        order = np.resize(random.permutation(len(self.clips)), self.steps_per_epoch * self.batch)
        for chosen in order.reshape(-1, self.batch):
            clips = [self.clips[index] for index in chosen]
            starts = [int(random.integers(0, max(0, c.samples - self.window) + 1)) for c in clips]
            crops = [
                self.audio.cut(clip, start, self.window)
                for clip, start in zip(clips, starts, strict=True)
            ]
            yield np.stack(crops), np.array([clip.label for clip in clips], np.int32)

    def dataset(self, epochs: int) -> tf.data.Dataset:
        """All batches of epochs 1 to `epochs`, one after the other."""
        return tf.data.Dataset.from_generator(
            lambda: (batch for number in range(1, epochs + 1) for batch in self.epoch(number)),
            output_signature=(
                tf.TensorSpec([self.batch, self.window], tf.float32),
                tf.TensorSpec([self.batch], tf.int32),
            ),
        ).prefetch(_PREFETCHED_BATCHES)


class Classifier(keras.Sequential):
    """Encoder and head: waveform `[batch, window]` -> logits `[batch, classes]`.

    The head is trained in standardized coordinates, so that the learning rate means the same
    whatever the scale of the embeddings.
    """

    def __init__(self, encoder: WaveformEmbedder, head: Head, window: int):
        self._standardization = head
        dense = keras.layers.Dense(len(head.bias), name="head", dtype="float32")
        standardize = keras.layers.Rescaling(
            head.scale.astype(np.float32),
            (-head.mean * head.scale).astype(np.float32),
            dtype="float32",
        )
        super().__init__([keras.Input((window,), name="waveform"), encoder, standardize, dense])
        dense.set_weights([head.weights, head.bias])

    def head(self) -> Head:
        """The head as it is now."""
        weights, bias = self.get_layer("head").get_weights()
        return Head(self._standardization.mean, self._standardization.scale, weights, bias)


class BestEpoch(keras.callbacks.Callback):
    """Scores the validation clips after every epoch, and restores the best epoch's weights.

    Keras' `EarlyStopping` monitors one figure of windows; here clips are scored by the mean logits
    of their windows, and the better accuracy counts, of equal ones the smaller loss.

    Args:
        first: score of the frozen encoder with its best head, which counts as epoch 0. If it stays
            the best, the encoder is restored, and the model's head is of no use.
        validate: scores the encoder as it is now with a head.
        settings: see `Settings`.
        progress: shows a line for every epoch.

    Attributes:
        history: for each epoch its number, training loss, validation accuracy and loss.
        best_epoch: number of the best epoch.
    """

    def __init__(
        self,
        first: Score,
        validate: Callable[[Head], Score],
        settings: Settings,
        progress: Progress,
    ):
        super().__init__()
        self._best, self._validate = first, validate
        self._settings, self._progress = settings, progress
        self.history: list[dict] = []
        self.best_epoch = 0

    def on_train_begin(self, logs=None):
        # All weights: training mode also changes moving averages, which are not trainable.
        self._weights = self.model.get_weights()

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(loss := float(logs["loss"])):
            raise self._diverged(f"The loss is {loss}")

    def on_epoch_end(self, epoch, logs=None):
        try:
            validation = self._validate(self.model.head())
        except NotFiniteError as error:
            raise self._diverged("The embeddings are not finite") from error
        self.history.append(
            {
                "epoch": epoch + 1,
                "training_loss": float(logs["loss"]),
                "validation_accuracy": validation.accuracy,
                "validation_loss": validation.loss,
            }
        )
        if is_best := validation.better_than(self._best):
            self._best, self.best_epoch = validation, epoch + 1
            self._weights = self.model.get_weights()
        self._progress.say(
            f"  epoch {epoch + 1}/{self._settings.epochs}: training loss {logs['loss']:.3f}, "
            f"validation accuracy {validation.accuracy:.1f}%{' (best so far)' * is_best}"
        )

    def on_train_end(self, logs=None):
        self.model.set_weights(self._weights)

    def _diverged(self, symptom: str) -> FinetuneError:
        return FinetuneError(
            f"{symptom} in epoch {len(self.history) + 1}: training diverges. Give a smaller "
            f"--learning_rate (it is {self._settings.learning_rate:g}), or train the head alone "
            "with --epochs=0."
        )


class _Steps(keras.callbacks.Callback):
    """Counts steps on a progress bar."""

    def __init__(self, bar):
        super().__init__()
        self._bar = bar

    def on_train_batch_end(self, batch, logs=None):
        self._bar.update(1)


def fit(
    encoder: WaveformEmbedder,
    head: Head,
    crops: Crops,
    settings: Settings,
    best: BestEpoch,
    progress: Progress,
) -> Head:
    """Trains an encoder and its head; leaves the encoder as it was after the best epoch.

    Args:
        encoder: with trainable variables, which are changed in place.
        head: the head that training starts from.
        crops: the training windows.
        settings: see `Settings`.
        best: chooses the epoch.
        progress: counts the steps.

    Returns:
        The head of the best epoch.

    Raises:
        FinetuneError: the loss is not finite, or memory is too small.
    """
    tf.random.set_seed(settings.seed)
    model = Classifier(encoder, head, crops.window)
    steps = settings.epochs * crops.steps_per_epoch
    model.compile(
        # Epsilon as published (Kingma and Ba, 2015, algorithm 1).
        keras.optimizers.Adam(learning_rate(settings.learning_rate, steps), epsilon=1e-8),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    with (
        progress.phase("encoder", "fine-tune", steps, "step") as bar,
        warnings.catch_warnings(),
    ):
        # A module may list variables that its embedding does not depend on.
        warnings.filterwarnings("ignore", "Gradients do not exist")
        try:
            model.fit(
                crops.dataset(settings.epochs),
                epochs=settings.epochs,
                steps_per_epoch=crops.steps_per_epoch,
                callbacks=[_Steps(bar), best],
                shuffle=False,
                verbose=0,
            )
        except tf.errors.ResourceExhaustedError as error:
            raise FinetuneError(
                f"There is not enough memory for {crops.batch} crops of {crops.window} samples. "
                "Give a smaller --batch or --window_seconds."
            ) from error
    return model.head()


def learning_rate(highest: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """A linear rise to the highest learning rate, then a cosine to 0."""
    warm_up = max(1, round(_WARM_UP * steps))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=highest / warm_up,
        decay_steps=max(1, steps - warm_up),
        warmup_target=highest,
        warmup_steps=warm_up,
    )
