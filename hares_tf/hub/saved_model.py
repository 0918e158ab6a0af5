"""Reads the signatures and files of a SavedModel without loading it."""

import re
from pathlib import Path

from hares_tf.hub.errors import HubError
from hares_tf.utils.tensorflow import import_tensorflow

# Kept among the signatures by TensorFlow for its own use.
_INTERNAL = "__saved_model"
_SHARD = re.compile(r"variables\.data-(\d{5})-of-(\d{5})")


def read(directory: Path):
    """The `SavedModel` message of a folder.

    Raises:
        HubError: there is no `saved_model.pb`, or it cannot be parsed.
    """
    import_tensorflow()
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    path = Path(directory) / "saved_model.pb"
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(path.read_bytes())
    except FileNotFoundError as error:
        raise HubError(f"{directory} holds no saved_model.pb.") from error
    except DecodeError as error:
        raise HubError(f"{path} is damaged; export or download the module again.") from error
    if not saved.meta_graphs:
        raise HubError(f"{path} is empty; export or download the module again.")
    return saved


def signatures(directory: Path) -> dict:
    """The signatures that a server offers: `SignatureDef` by name, sorted.

    Raises:
        HubError: see `read`; or no graph has the tag "serve".
    """
    for meta_graph in read(directory).meta_graphs:
        if "serve" in meta_graph.meta_info_def.tags:
            found = meta_graph.signature_def
            return {name: found[name] for name in sorted(found) if not name.startswith(_INTERNAL)}
    raise HubError(f"{directory} holds no graph for servers (tag serve).")


def missing_part(directory: Path) -> str | None:
    """The first file that the SavedModel needs and does not have; None if it is whole.

    Of variables, the index and every shard; of assets, those that the graph names.
    """
    try:
        saved = read(directory)
    except HubError:
        return "saved_model.pb"
    for meta_graph in saved.meta_graphs:
        for asset in meta_graph.asset_file_def:
            if not (directory / "assets" / asset.filename).is_file():
                return f"assets/{asset.filename}"
    variables = directory / "variables"
    there = {path.name for path in variables.iterdir()} if variables.is_dir() else set()
    if not there and not any(graph.saver_def.restore_op_name for graph in saved.meta_graphs):
        return None  # A module of the TF1 format without variables.
    if "variables.index" not in there:
        return "variables/variables.index"
    numbers = [match.groups() for name in there if (match := _SHARD.fullmatch(name))]
    if not numbers:
        return "variables/variables.data-*"
    count = max(int(total) for _, total in numbers)
    shards = {f"variables.data-{shard:05d}-of-{count:05d}" for shard in range(count)}
    return next((f"variables/{name}" for name in sorted(shards - there)), None)


def folder_in(folder: Path, where: str) -> Path:
    """Finds a SavedModel: in the folder, in its newest numbered version, or in its only child.

    Args:
        folder: where to look.
        where: names the folder in the message.

    Raises:
        HubError: there is none.
    """
    current = folder
    for _ in range(3):
        if (current / "saved_model.pb").is_file():
            return current
        children = [
            path for path in current.iterdir() if path.is_dir() and not _is_foreign(path.name)
        ]
        versions = [path for path in children if is_version(path.name)]
        if versions:
            current = max(versions, key=lambda path: int(path.name))
        elif len(children) == 1:
            current = children[0]
        else:
            break
    entries = sorted(path.name for path in folder.iterdir())
    listing = ", ".join(entries[:8]) + (", ..." if len(entries) > 8 else "")
    raise HubError(
        f"{where} holds no saved_model.pb (it holds: {listing or 'nothing'}); "
        "name the folder of a SavedModel, or one with numbered versions of it."
    )


def is_version(name: str) -> bool:
    """Returns whether a folder's name is the number of a version."""
    return name.isascii() and name.isdigit()


def _is_foreign(name: str) -> bool:
    """Returns whether a name is of a temporary file, or of what macOS puts into archives."""
    return name.startswith(".") or name == "__MACOSX"
