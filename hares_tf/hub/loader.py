"""Handles: from what a user types to a module on disk, and to the loaded object.

Everything up to `load` works without TensorFlow, so that a finished evaluation can be recognised
without importing it. Uses neither `hares_tf.audio` nor `hares_tf.models`: a handle may be
anybody's.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from hares_tf.files import DigestCache, sha256_file
from hares_tf.hub.errors import HubError
from hares_tf.quiet import quiet_import

CARD_NAME = "model_card.json"
# Differs between two exports of the same model, and says nothing about what the model computes.
_NOT_CONTENT = {"fingerprint.pb"}


@dataclass(frozen=True)
class LocatedModule:
    """A module found on disk, not loaded yet.

    Attributes:
        handle: what the user typed.
        directory: the SavedModel's folder.
        name: the card's name, else the folder's.
        card: the model card, or None when the module brings none.
    """

    handle: str
    directory: Path
    name: str
    card: dict | None

    def content_hash(self, digests: DigestCache | None = None) -> str:
        """SHA-256 over the module's files (names and bytes), without `fingerprint.pb`."""
        files = sorted(
            path
            for path in self.directory.rglob("*")
            if path.is_file() and path.name not in _NOT_CONTENT
        )
        values = digests.digests(files) if digests else [sha256_file(path) for path in files]
        whole = hashlib.sha256()
        for path, value in zip(files, values, strict=True):
            whole.update(f"{path.relative_to(self.directory).as_posix()}\0{value}\n".encode())
        return whole.hexdigest()


def locate(handle: str | os.PathLike) -> LocatedModule:
    """Finds the module that `handle` names: a SavedModel folder, plain or with version folders.

    Raises:
        HubError: nothing usable is there; the message says what was found instead.
    """
    handle = os.fspath(handle)
    if "://" in handle or handle.startswith("python:") or handle.endswith((".tar.gz", ".keras")):
        raise HubError(
            f"{handle}: only folders that hold a SavedModel can be used as handles so far; "
            "download or unpack the module and name its folder"
        )
    directory = Path(handle)
    if not directory.exists():
        raise HubError(f"{handle}: there is no such folder")
    if not directory.is_dir():
        raise HubError(f"{handle} is a file; name the folder that holds saved_model.pb")
    directory = _newest_version(directory)
    name = directory.name if not directory.name.isdigit() else directory.parent.name
    card = _read_card(directory)
    return LocatedModule(handle, directory, (card or {}).get("name") or name, card)


def load(handle: str | os.PathLike | LocatedModule):
    """Loads a module with `tf.saved_model.load`.

    Raises:
        HubError: the handle names no module, or TensorFlow cannot read it.
    """
    module = handle if isinstance(handle, LocatedModule) else locate(handle)
    with quiet_import():
        import tensorflow as tf

    try:
        return tf.saved_model.load(os.fspath(module.directory))
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise HubError(
            f"{module.handle}: TensorFlow cannot load this SavedModel ({_first_line(error)}); "
            "it may be incomplete: export or download it again"
        ) from error


def _newest_version(directory: Path) -> Path:
    if (directory / "saved_model.pb").is_file():
        return directory
    versions = [p for p in directory.iterdir() if p.name.isdigit() and p.is_dir()]
    versions = [p for p in versions if (p / "saved_model.pb").is_file()]
    if versions:
        return max(versions, key=lambda path: int(path.name))
    entries = sorted(path.name for path in directory.iterdir())
    listing = ", ".join(entries[:8]) + (", ..." if len(entries) > 8 else "")
    raise HubError(
        f"{directory} holds no saved_model.pb (it holds: {listing or 'nothing'}); "
        "name the folder of a SavedModel, or one with numbered versions of it"
    )


def _read_card(directory: Path) -> dict | None:
    path = directory / "assets" / CARD_NAME
    if not path.is_file():
        return None
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HubError(f"{path} is not a readable model card: {error}") from error
    if not isinstance(card, dict):
        raise HubError(f"{path} is not a readable model card: it is no JSON object")
    return card


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
