"""The interface of a module as flags, a card, or a preset state it before it is probed."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from hares_tf.evaluation.errors import EvaluationError

POOLS = ("mean", "max")
NORMALIZATIONS = ("none", "standard", "peak_quarter")
# The name of a field in cards, results and store keys, where it differs from the attribute's:
# files that exist must stay readable, and keys equal.
_STORED_NAMES = {"normalize": "normalise"}


@dataclass(frozen=True)
class Interface:
    """The interface of a module; a field is None where it has to be probed.

    Attributes:
        sample_rate: of the waveforms it expects, in hertz; the one field that cannot be probed.
        entry_point: "__call__", the name of a function, or of a signature.
        output_key: the output that holds the embedding: a name, or a position of a tuple.
        window_samples: the only length it takes. Longer windows are cut into tiles of this length
            (the last one zero-padded) and the embeddings averaged; shorter ones are zero-padded.
        pool: how a time axis of the output is pooled, "mean" or "max".
        input_rank: 1 (`[samples]`), 2 (`[batch, samples]`) or 3 (`[batch, samples, 1]`).
        normalize: how each waveform is scaled first: "none"; "standard", to zero mean and unit
            deviation; "peak_quarter", to a peak of 0.25.

    Raises:
        EvaluationError: a value that no module can have.
    """

    sample_rate: int | None = None
    entry_point: str | None = None
    output_key: str | int | None = None
    window_samples: int | None = None
    pool: str | None = None
    input_rank: int | None = None
    normalize: str | None = None

    def __post_init__(self):
        def check(name: str, valid: bool, allowed: str) -> None:
            value = getattr(self, name)
            if value is not None and not valid:
                raise EvaluationError(f"{name} must be {allowed}, not {value!r}.")

        def whole(value, low: int, high: int) -> bool:
            return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

        check("sample_rate", whole(self.sample_rate, 1000, 384_000), "1000 to 384000 (Hz)")
        check("window_samples", whole(self.window_samples, 1, 10**9), "a positive whole number")
        check("input_rank", self.input_rank in (1, 2, 3), "1, 2 or 3")
        check("pool", self.pool in POOLS, " or ".join(POOLS))
        check("normalize", self.normalize in NORMALIZATIONS, " or ".join(NORMALIZATIONS))
        check("entry_point", isinstance(self.entry_point, str), "a name")
        check(
            "output_key",
            isinstance(self.output_key, (str, int)) and not isinstance(self.output_key, bool),
            "a name or a position",
        )

    def filled_from(self, other: "Interface") -> "Interface":
        """Returns this interface, its open fields filled from `other`."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        return Interface(**{**asdict(other), **values})

    def as_data(self) -> dict:
        """Returns all fields as JSON data, under their stored names."""
        return {_STORED_NAMES.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_data(cls, data: Mapping) -> "Interface":
        """Returns the interface that JSON data of `as_data` or a card holds; ignores other keys."""
        names = {_STORED_NAMES.get(field.name, field.name): field.name for field in fields(cls)}
        return cls(**{names[key]: value for key, value in data.items() if key in names})


def from_card(card: Mapping, where: str) -> Interface:
    """Returns the interface that a module's card states.

    Args:
        card: the card, or {}.
        where: names the module in error messages.

    Raises:
        EvaluationError: a value that no module can have.
    """
    try:
        return Interface.from_data(card)
    except EvaluationError as error:
        raise EvaluationError(f"The card of {where} is wrong: {error}") from error


def preset_for(handle: str) -> tuple[str | None, Interface]:
    """Returns name and interface of the public module that a handle names, if it is known."""
    for name, (pattern, interface) in PRESETS.items():
        if re.search(pattern, handle):
            return name, interface
    return None, Interface()


# Public modules without a card, by their documentation. The patterns match addresses of tfhub.dev
# and kaggle.com/models, and folders that keep the module's name.
PRESETS: dict[str, tuple[str, Interface]] = {
    # scores, embeddings [frames, 1024], log-mel; one waveform at a time
    "yamnet": (r"(^|/)yamnet(/|$)", Interface(16_000, output_key=1)),
    # [patches, 128], one patch per 0.96 s; one waveform at a time
    "vggish": (r"(^|/)vggish(/|$)", Interface(16_000)),
    "trill": (r"(^|/)trill(-distilled)?(/|$)", Interface(16_000, output_key="embedding")),
    "frill": (r"(^|/)frill(/|$)", Interface(16_000, output_key="embedding")),
    "trillsson": (r"(^|/)trillsson\d?(/|$)", Interface(16_000, output_key="embedding")),
    # hidden states [batch, 768, 768] of exactly 246000 standardized samples
    "wav2vec2": (
        r"(^|/)wav2vec2(-960h)?(/|$)",
        Interface(16_000, window_samples=246_000, normalize="standard"),
    ),
    # Perch: five seconds at 32 kHz, peak 0.25; (logits, embedding) or a dictionary
    "bird-vocalization-classifier": (
        r"(^|/)(bird-vocalization-classifier|perch)(/|$)",
        Interface(32_000, window_samples=160_000, normalize="peak_quarter"),
    ),
    "humpback_whale": (r"(^|/)humpback_whale(/|$)", Interface(10_000, input_rank=3)),
    "speech_embedding": (r"(^|/)speech_embedding(/|$)", Interface(16_000, output_key="default")),
}
