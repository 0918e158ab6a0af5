"""Settings of fine-tuning."""

from dataclasses import asdict, dataclass

from hares_tf.finetune.errors import FinetuneError


@dataclass(frozen=True)
class Settings:
    """Choices of the user; the defaults are small steps, which change a good encoder little.

    Attributes:
        window_seconds: length of the windows for training and scoring; None: the one length that
            the module takes, else the shorter of 5 s and the 95th percentile of the recordings.
        epochs: passes over the training clips with the encoder unfrozen; 0 trains the head alone.
        learning_rate: the highest learning rate, reached after the warm-up.
        batch: training crops in a step.
        seed: decides the split, the crops and their order.
    """

    window_seconds: float | None = None
    epochs: int = 10
    learning_rate: float = 1e-4
    batch: int = 32
    seed: int = 0

    def __post_init__(self):
        seconds = self.window_seconds
        if seconds is not None and not 0.01 <= seconds <= 3600:
            raise FinetuneError(f"window_seconds is {seconds:g}. Give 0.01 to 3600 seconds.")
        if self.epochs < 0:
            raise FinetuneError(
                f"The number of epochs is {self.epochs}. Give 0 (the head alone) or more."
            )
        if self.batch < 1:
            raise FinetuneError(f"The batch size is {self.batch}. Give 1 or more.")
        if not 0 < self.learning_rate < float("inf"):
            raise FinetuneError(f"learning_rate is {self.learning_rate:g}. Give a positive number.")

    def as_data(self) -> dict:
        """All fields as JSON data."""
        return asdict(self)
