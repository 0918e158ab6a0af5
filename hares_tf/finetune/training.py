"""Unfrozen: the encoder's variables and the head, together, by small steps of Adam.

One static shape, one graph. Which crop of which clip a step sees follows from the seed and the
step alone.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from hares_tf.evaluation.embeddings.windows import random_of
from hares_tf.finetune.clips import Audio, Clip
from hares_tf.finetune.encoder import TrainableEncoder
from hares_tf.finetune.errors import FinetuneError, NotFiniteError
from hares_tf.finetune.head import Head, Score
from hares_tf.finetune.settings import Settings

# Adam as published (Kingma and Ba, 2015, algorithm 1).
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
# The share of the steps in which the learning rate rises: Adam's estimates settle meanwhile.
_WARM_UP = 0.1


class Trainer:
    """Trains an encoder and its head; the encoder's variables are changed in place.

    Args:
        encoder: with trainable variables.
        head: the one that training starts from. It is trained in standardised coordinates, so
            that the learning rate means the same whatever the scale of the embeddings.
        audio: the decoded clips.
        clips: the training clips.
        window: samples of a crop.
        settings: see `Settings`.
    """

    def __init__(
        self,
        encoder: TrainableEncoder,
        head: Head,
        audio: Audio,
        clips: Sequence[Clip],
        window: int,
        settings: Settings,
    ):
        self._encoder, self._audio, self._clips = encoder, audio, clips
        self._window, self._settings = window, settings
        self._batch = min(settings.batch, len(clips))
        self.steps_per_epoch = math.ceil(len(clips) / self._batch)
        self._start = head
        tf.random.set_seed(settings.seed)
        self._weights = tf.Variable(head.weights, name="head_weights")
        self._bias = tf.Variable(head.bias, name="head_bias")
        self._trained = [*encoder.trainable_variables, self._weights, self._bias]
        self._step = self._make_step()

    def head(self) -> Head:
        """As it is now."""
        weights, bias = self._weights.numpy(), self._bias.numpy()
        return Head(self._start.mean, self._start.scale, weights, bias)

    def fit(
        self, first: Score, validate: Callable[[Head], Score], progress
    ) -> tuple[list[dict], int]:
        """Trains, and leaves encoder and head as they were after the best epoch.

        Args:
            first: of the frozen encoder with its best head: epoch 0, which counts as well. If it
                stays the best, the encoder is left as it was, and the head is of no use.
            validate: scores the encoder as it is now with a head.
            progress: a `hares_tf.utils.progress.Progress`.

        Returns:
            For each epoch its number, training loss, validation accuracy and loss; and the number
            of the best.

        Raises:
            FinetuneError: the loss is not finite, or memory is too small.
        """
        epochs, per_epoch = self._settings.epochs, self.steps_per_epoch
        # Also what training mode changes beside the trainable variables, such as moving averages.
        state = [*self._encoder.variables, self._weights, self._bias]
        best, best_epoch, kept = first, 0, [variable.numpy() for variable in state]
        history = []
        with progress.phase("encoder", "fine-tune", epochs * per_epoch, "step") as bar:
            for epoch in range(1, epochs + 1):
                losses = []
                for waveforms, labels in self._batches(epoch):
                    losses.append(self._take_step(waveforms, labels, epoch, len(losses)))
                    bar.update(1)
                try:
                    found = validate(self.head())
                except NotFiniteError as error:
                    raise self._diverged("the embeddings are not finite", epoch) from error
                history.append(
                    {
                        "epoch": epoch,
                        "training_loss": float(np.mean(losses)),
                        "validation_accuracy": found.accuracy,
                        "validation_loss": found.loss,
                    }
                )
                is_best = found.better_than(best)
                if is_best:
                    best, best_epoch = found, epoch
                    kept = [variable.numpy() for variable in state]
                progress.say(
                    f"  epoch {epoch}/{epochs}: training loss {history[-1]['training_loss']:.3f}, "
                    f"validation accuracy {found.accuracy:.1f}%{' (best so far)' * is_best}"
                )
        for variable, value in zip(state, kept, strict=True):
            variable.assign(value)
        return history, best_epoch

    def _take_step(self, waveforms: np.ndarray, labels: np.ndarray, epoch: int, done: int) -> float:
        step = (epoch - 1) * self.steps_per_epoch + done
        total = self._settings.epochs * self.steps_per_epoch
        rate = self._settings.learning_rate * schedule(step, total)
        try:
            loss = float(self._step(waveforms, labels, rate, float(step + 1)))
        except tf.errors.ResourceExhaustedError as error:
            raise FinetuneError(
                f"not enough memory for {self._batch} crops of {self._window} samples; give a "
                "smaller --batch or --window_seconds"
            ) from error
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss}", epoch)
        return loss

    def _diverged(self, what: str, epoch: int) -> FinetuneError:
        return FinetuneError(
            f"{what} in epoch {epoch}: training diverges; give a smaller --learning_rate (it is "
            f"{self._settings.learning_rate:g}), or train the head alone with --epochs=0"
        )

    def _batches(self, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Crops float32 `[batch, window]` and classes int32 `[batch]`; every clip at least once."""
        random = random_of(f"epoch {epoch}", self._settings.seed)
        # The last batch is filled up from the beginning of the order.
        order = np.resize(random.permutation(len(self._clips)), self.steps_per_epoch * self._batch)
        for chosen in order.reshape(-1, self._batch):
            clips = [self._clips[index] for index in chosen]
            starts = [int(random.integers(0, max(0, c.samples - self._window) + 1)) for c in clips]
            crops = [
                self._audio.cut(c, start, self._window)
                for c, start in zip(clips, starts, strict=True)
            ]
            yield np.stack(crops), np.array([c.label for c in clips], np.int32)

    def _make_step(self):
        """A step as one graph: crops, classes, learning rate, number from 1 -> loss."""
        encoder, trained = self._encoder, self._trained
        mean = tf.constant(self._start.mean, tf.float32)
        scale = tf.constant(self._start.scale, tf.float32)
        slots = [[tf.Variable(tf.zeros_like(v), trainable=False) for v in trained] for _ in "mv"]

        @tf.function(
            input_signature=[
                tf.TensorSpec([self._batch, self._window], tf.float32),
                tf.TensorSpec([self._batch], tf.int32),
                tf.TensorSpec([], tf.float32),
                tf.TensorSpec([], tf.float32),
            ]
        )
        def step(waveforms, labels, rate, number):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(trained)
                embedding = encoder(waveforms, training=True)
                logits = (embedding - mean) * scale @ self._weights + self._bias
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                loss = tf.reduce_mean(losses)
                for regularization in encoder.regularization_losses:
                    loss += tf.cast(regularization(), tf.float32)
            for variable, gradient, m, v in zip(
                trained, tape.gradient(loss, trained), *slots, strict=True
            ):
                # A module may list variables that its embedding does not depend on.
                if gradient is not None:
                    _adam(variable, tf.convert_to_tensor(gradient), m, v, rate, number)
            return loss

        return step


def _adam(variable, gradient, m, v, rate, number) -> None:
    kind = variable.dtype
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=m.handle,
        v=v.handle,
        beta1_power=tf.cast(_BETA_1**number, kind),
        beta2_power=tf.cast(_BETA_2**number, kind),
        lr=tf.cast(rate, kind),
        beta1=tf.cast(_BETA_1, kind),
        beta2=tf.cast(_BETA_2, kind),
        epsilon=tf.cast(_EPSILON, kind),
        grad=gradient,
    )


def schedule(step: int, total: int) -> float:
    """Share of the highest learning rate: rises in a line, then falls to 0 as a cosine.

    Args:
        step: from 0.
        total: number of steps.
    """
    warm_up = max(1, round(_WARM_UP * total))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step + 1 - warm_up) / max(1, total - warm_up)))
