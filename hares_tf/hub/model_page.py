"""The model card as a Markdown page, for Kaggle Models or another hub."""

from hares_tf.hub import saved_model
from hares_tf.hub.errors import HubError
from hares_tf.hub.loader import LocatedModule
from hares_tf.hub.model_card import ModelCard, typed
from hares_tf.utils.markdown import bullets, grid, plain

# The longest recordings of the conformance check of hares-export; the shortest are one sample.
_LONGEST_SECONDS = 60
# The `source` of weights from hares-finetune, whose `data` has other fields.
_FINE_TUNED = "fine-tuned"
# Names of more classes are left out; the module's class map lists them.
_NAMED_CLASSES = 20
# Most sources of sources that are described.
_MOST_TUNINGS = 8


def model_page(
    module: LocatedModule,
    license_name: str,
    scores: str = "",
    archive: tuple[str, str] | None = None,
) -> str:
    """Returns the page of a module that hares_tf exported or fine-tuned.

    Args:
        module: a SavedModel with a card.
        license_name: the license of its weights.
        scores: Markdown that shows its HARES scores; "" if there are none.
        archive: name and SHA-256 of the file that is shared.

    Raises:
        HubError: the module has no card, or one without the fields that hares_tf writes.
    """
    module.card.check_written(module.handle)
    try:
        return _page(module, license_name, scores, archive)
    except OverflowError as error:  # JSON has integers that no float can hold
        raise HubError(
            f"The card of {module.handle} has a number out of range: {error}."
        ) from error


def _page(
    module: LocatedModule, license_name: str, scores: str, archive: tuple[str, str] | None
) -> str:
    card = module.card
    sections = {
        "Intended use": _intended_use(card),
        "Interface": _interface(module, card),
        "Training data": _training_data(card["weights"]),
        "HARES scores": scores or "This module has not been scored yet.",
        "Limits": _limits(card),
        "License": f"{plain(license_name)} (the weights; the code of hares_tf is Apache-2.0).",
    }
    if archive:
        name, digest = archive
        sections["Integrity"] = f"`{name}` has the SHA-256 `{digest}`."
    parts = [f"# {plain(card['name'])}", plain(card.get("description", ""))]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items()]
    return "\n\n".join(part for part in parts if part) + "\n"


def _intended_use(card: ModelCard) -> str:
    uses = ["classification, retrieval and clustering of recordings of any kind"]
    classes = typed(card, "classes", int)
    if classes and card["weights"].get("source") == _FINE_TUNED:
        uses.append(f"telling apart the {classes} classes it was fine-tuned on")
    elif classes:
        uses.append(f"tagging with the {classes} classes it was trained on")
    if card.get("flavour") == "reusable":
        uses.append("fine-tuning on labeled recordings")
    return (
        "The module turns a recording (environmental sound, speech or music) into one embedding "
        f"of {card['embedding_size']} features, for:\n\n{bullets(uses)}"
    )


def _interface(module: LocatedModule, card: ModelCard) -> str:
    rows = [
        (name, _tensors(signature.inputs), _tensors(signature.outputs))
        for name, signature in saved_model.signatures(module.location).items()
    ]
    rate = card["sample_rate"]
    example = (
        "```python\n"
        "import tensorflow as tf\n\n"
        'module = tf.saved_model.load("folder of the unpacked archive")\n'
        f"embedding = module(tf.zeros([2, {rate}]))  # [2, {card['embedding_size']}]\n"
        "```"
    )
    entries = typed(card, "interface", dict).items()
    described = [f"{plain(name)}: {plain(text)}" for name, text in entries]
    return "\n\n".join(
        [
            f"Input: waveforms at {rate} Hz, one channel, float32 in [-1, 1], of any length.",
            example,
            *([bullets(described)] if described else []),
            "Signatures, as a server names them:",
            grid(("Signature", "Inputs", "Outputs"), rows),
        ]
    )


def _tensors(tensors) -> str:
    import tensorflow as tf

    def one(name: str) -> str:
        sizes = [dim.size for dim in tensors[name].tensor_shape.dim]
        shape = ", ".join("?" if size < 0 else str(size) for size in sizes)
        return f"{name} {tf.as_dtype(tensors[name].dtype).name} [{shape}]"

    return "; ".join(one(name) for name in sorted(tensors))


def _training_data(weights: dict, tuned: int = 0) -> str:
    source = str(weights.get("source", "unknown"))
    if source == "random":
        return "None: the weights are random. The module serves as a baseline and for trials."
    if source.startswith("none"):
        return "None: the module has no parameters."
    if source == _FINE_TUNED:
        return _fine_tuning(weights, tuned + 1)
    data = typed(weights, "data", dict)
    if not data:
        facts = [f"{plain(key)}: {plain(weights[key])}" for key in weights if key != "config"]
        unknown = "What the weights were trained on is not recorded in the module."
        return f"{unknown} What is:\n\n{bullets(facts)}"
    facts = [f"{plain(data.get('n_clips', '?'))} recordings{_duration(data)}"]
    facts += [f"data set: {plain(data.get('name', '?'))}", *_origin(typed(data, "source", dict))]
    facts.append(f"objective: {plain(weights.get('objective', '?'))}")
    config = typed(weights, "config", dict)
    if "batch" in config:
        facts.append(f"{plain(weights.get('step', '?'))} steps of {plain(config['batch'])} crops")
    crops = typed(config, "crops", dict)
    if "seconds" in crops:
        facts.append(f"crops of {plain(crops['seconds'])} seconds")
    if "content_hash" in data:
        facts.append(f"content hash of the clips: {_digest(data['content_hash'])}")
    return bullets(facts)


def _fine_tuning(weights: dict, tuned: int) -> str:
    """Returns the training data and accuracy of hares-finetune, then those of its source.

    `tuned` counts the sources, whose number in a hostile card has no limit.
    """
    data, origin = typed(weights, "data", dict), typed(weights, "from", dict)
    parts = ", ".join(f"{count} {part}" for part, count in typed(data, "clips", dict).items())
    classes = list(typed(data, "clips_by_class", dict))
    names = f": {', '.join(classes)}" if len(classes) <= _NAMED_CLASSES else ""
    name, epochs = plain(origin.get("name", "?")), weights.get("epochs_kept")
    facts = [
        f"fine-tuned from {name}, content hash {_digest(origin.get('content_hash', '?'))}",
        f"recordings: {plain(parts or '?')}{_duration(data)}",
        f"{len(classes)} classes{plain(names)}",
        *_origin(data),
        f"encoder and head trained together for {plain(epochs)} epochs"
        if epochs
        else "only the head was trained; the encoder is its source's",
    ]
    match weights.get("held_out"):
        case {
            "accuracy": int() | float() as accuracy,
            "interval": [int() | float() as low, int() | float() as high],
            "clips": int() as clips,
        }:
            facts.append(
                f"held-out accuracy: {accuracy:.1f}% (95% interval {low:.1f}–{high:.1f}) on "
                f"{clips} test recordings"
            )
    if "content_hash" in data:
        facts.append(f"content hash of the clips: {_digest(data['content_hash'])}")
    before = (
        _training_data(origin["weights"], tuned)
        if isinstance(origin.get("weights"), dict) and tuned < _MOST_TUNINGS
        else "Not recorded in the module."
    )
    return f"{bullets(facts)}\n\n### Training data of its source, {name}\n\n{before}"


def _digest(value) -> str:
    """Formats a digest as code, if it consists of letters and digits."""
    return f"`{value}`" if str(value).isalnum() else plain(value)


def _duration(data: dict) -> str:
    """Returns `, 2.0 hours`, or "" if the duration is unknown."""
    seconds = data.get("seconds")
    if not isinstance(seconds, (int, float)):
        return ""
    return f", {seconds / 3600:.1f} hours" if seconds >= 3600 else f", {seconds:.1f} seconds"


def _origin(source: dict) -> list[str]:
    """Lists the origin of the training clips: data sets by name, or folders."""
    tasks = [str(one.get("task")) for one in typed(source, "tasks", list) if isinstance(one, dict)]
    lines = [f"training recordings of {plain(', '.join(tasks))}"] if tasks else []
    if folders := typed(source, "folders", list):
        lines.append(f"folders: {plain(', '.join(map(str, folders)))}")
    return lines


def _limits(card: ModelCard) -> str:
    rate = card["sample_rate"]
    limits = [
        f"Sounds above {rate // 2} Hz are not heard. Recordings of another rate must be resampled "
        f"to {rate} Hz first; the module cannot notice that they were not.",
        f"{_lengths(card['weights'])} Zeros at the end of a waveform are part of it and change the "
        "embedding"
        + (
            "; the signature with_lengths says where recordings end."
            if "with_lengths" in typed(card, "interface", dict)
            else "."
        ),
        "Scores say what linear and small classifiers make of the embedding on public data sets. "
        "They say nothing about other microphones, languages and places: test on your own.",
        "Embeddings of speech tell speakers apart. They are personal data where voices are.",
    ]
    if card.get("flavour") == "serving":
        limits.append(f"Inference only, in {plain(card.get('precision', 'float32'))}.")
    return bullets([*limits, *(plain(note) for note in typed(card, "notes", list))])


def _lengths(weights: dict) -> str:
    """States the lengths of waveforms that were checked."""
    if weights.get("source") != _FINE_TUNED:
        return f"Checked with lengths from one sample to {_LONGEST_SECONDS} seconds."
    seconds = plain(typed(weights, "settings", dict).get("window_seconds", "?"))
    return (
        f"Fine-tuned and tested on windows of {seconds} seconds, the logits of a longer recording "
        "being the mean over its windows; other lengths were not tested."
    )
