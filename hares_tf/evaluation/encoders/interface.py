"""What is said of a module's interface before it is probed: by flags, a card, or a preset."""

import re
from dataclasses import asdict, dataclass, fields

from hares_tf.evaluation.errors import EvaluationError

POOLS = ("mean", "max")
NORMALISATIONS = ("none", "standard", "peak_quarter")


@dataclass(frozen=True)
class Interface:
    """How a module is called; None where it has to be probed.

    Attributes:
        sample_rate: hertz of the waveforms it expects; the one thing that cannot be probed.
        entry_point: "__call__", the name of a function, or of a signature.
        output_key: which output holds the embedding: a name, or a position of a tuple.
        window_samples: the one length it takes. Longer windows are tiled with it (the last tile
            zero-padded) and the embeddings averaged, shorter ones are zero-padded.
        pool: how a time axis of the output is pooled, "mean" or "max".
        input_rank: 1 (`[samples]`), 2 (`[batch, samples]`) or 3 (`[batch, samples, 1]`).
        normalise: what is done to each waveform first: "none"; "standard", zero mean and unit
            deviation; "peak_quarter", to a peak of 0.25.
    """

    sample_rate: int | None = None
    entry_point: str | None = None
    output_key: str | int | None = None
    window_samples: int | None = None
    pool: str | None = None
    input_rank: int | None = None
    normalise: str | None = None

    def __post_init__(self):
        def check(name: str, good: bool, wanted: str) -> None:
            value = getattr(self, name)
            if value is not None and not good:
                raise EvaluationError(f"{name} must be {wanted}, not {value!r}")

        def whole(value, low: int, high: int) -> bool:
            return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

        check("sample_rate", whole(self.sample_rate, 1000, 384_000), "1000 to 384000 (Hz)")
        check("window_samples", whole(self.window_samples, 1, 10**9), "a positive whole number")
        check("input_rank", self.input_rank in (1, 2, 3), "1, 2 or 3")
        check("pool", self.pool in POOLS, " or ".join(POOLS))
        check("normalise", self.normalise in NORMALISATIONS, " or ".join(NORMALISATIONS))
        check("entry_point", isinstance(self.entry_point, str), "a name")
        check(
            "output_key",
            isinstance(self.output_key, (str, int)) and not isinstance(self.output_key, bool),
            "a name or a position",
        )

    def filled_from(self, other: "Interface") -> "Interface":
        """This interface, with what it leaves open taken from `other`."""
        return Interface(
            **{
                field.name: getattr(other, field.name)
                if getattr(self, field.name) is None
                else getattr(self, field.name)
                for field in fields(self)
            }
        )

    def as_data(self) -> dict:
        """All fields as JSON data."""
        return asdict(self)


def from_card(card: dict | None, where: str) -> Interface:
    """The interface that a module's card states (the card may say more; that is ignored).

    Raises:
        EvaluationError: a value that no module can have.
    """
    known = {field.name for field in fields(Interface)}
    try:
        return Interface(**{k: v for k, v in (card or {}).items() if k in known})
    except EvaluationError as error:
        raise EvaluationError(f"the card of {where}: {error}") from error


def preset_for(handle: str) -> tuple[str | None, Interface]:
    """The preset of a known public module whose handle is recognised, with its name."""
    for name, (pattern, interface) in PRESETS.items():
        if re.search(pattern, handle):
            return name, interface
    return None, Interface()


# Public modules that bring no card. What they expect is stated in their documentation; the patterns
# match tfhub.dev and kaggle.com/models addresses, and folders that keep the module's name.
PRESETS: dict[str, tuple[str, Interface]] = {
    # scores, embeddings [frames, 1024], log-mel; one waveform at a time
    "yamnet": (r"(^|/)yamnet(/|$)", Interface(16_000, output_key=1)),
    # [patches, 128], one patch per 0.96 s; one waveform at a time
    "vggish": (r"(^|/)vggish(/|$)", Interface(16_000)),
    "trill": (r"(^|/)trill(-distilled)?(/|$)", Interface(16_000, output_key="embedding")),
    "frill": (r"(^|/)frill(/|$)", Interface(16_000, output_key="embedding")),
    "trillsson": (r"(^|/)trillsson\d?(/|$)", Interface(16_000, output_key="embedding")),
    # hidden states [batch, 768, 768] of exactly 246000 standardised samples
    "wav2vec2": (
        r"(^|/)wav2vec2(-960h)?(/|$)",
        Interface(16_000, window_samples=246_000, normalise="standard"),
    ),
    # Perch: five seconds at 32 kHz, peak 0.25; (logits, embedding) or a dictionary
    "bird-vocalization-classifier": (
        r"(^|/)(bird-vocalization-classifier|perch)(/|$)",
        Interface(32_000, window_samples=160_000, normalise="peak_quarter"),
    ),
    "humpback_whale": (r"(^|/)humpback_whale(/|$)", Interface(10_000, input_rank=3)),
    "speech_embedding": (r"(^|/)speech_embedding(/|$)", Interface(16_000, output_key="default")),
}
