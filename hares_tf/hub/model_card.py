"""The model card: what a module says about itself, as JSON in its assets."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hares_tf.hub.errors import HubError

CARD_NAME = "model_card.json"
CARD_SCHEMA = 1
#: In the assets: columns `index` and `display_name`, as in YAMNet's class map (without its `mid`).
CLASS_MAP_NAME = "class_map.csv"
# Fields that every card written by hares_tf has.
_WRITTEN_FIELDS = {"name": str, "sample_rate": int, "embedding_size": int, "weights": dict}


@dataclass(frozen=True)
class ModelCard(Mapping[str, Any]):
    """A model card: a mapping of its fields.

    Anybody may write a card, so fields may be absent, unknown or of a wrong type. `hub.export.card`
    and `finetune.card` make complete ones, `hub.model_page` renders one as Markdown.

    Attributes:
        fields: the JSON object.
    """

    fields: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    @classmethod
    def read(cls, directory: Path) -> "ModelCard":
        """Returns the card in a SavedModel's assets or beside its saved_model.pb, or an empty one.

        Raises:
            HubError: the card is damaged.
        """
        paths = [directory / "assets" / CARD_NAME, directory / CARD_NAME]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            return cls()
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            # Half a surrogate pair is valid JSON, but can be neither printed nor written.
            json.dumps(fields, ensure_ascii=False).encode()
        except (OSError, ValueError, RecursionError) as error:
            raise HubError(f"{path} is not a readable model card: {error}") from error
        if not isinstance(fields, dict):
            raise HubError(f"{path} is not a readable model card: it is no JSON object.")
        if not isinstance(fields.get("name", ""), str):
            raise HubError(f"{path} is not a readable model card: its name is no text.")
        return cls(fields)

    def write(self, path: Path) -> None:
        """Writes the card as JSON."""
        text = json.dumps(self.fields, indent=2, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")

    def check_written(self, handle: str) -> None:
        """Raises HubError unless the card has the fields that hares_tf writes."""
        for name, kind in _WRITTEN_FIELDS.items():
            if not isinstance(self.get(name), kind):
                raise HubError(
                    f"{handle} has no model card of hares-export (no {name}); a page can be made "
                    "of such modules only."
                )


def typed(data: Mapping, name: str, kind: type) -> Any:
    """Returns a value of foreign JSON data; an empty one of its type if it has another type."""
    value = data.get(name)
    return value if isinstance(value, kind) and not isinstance(value, bool) else kind()
