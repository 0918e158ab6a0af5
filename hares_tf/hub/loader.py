"""Handles: from what a user types to a module on disk, and to the loaded object.

Everything up to `load` works without TensorFlow for local handles, so that a finished evaluation
can be recognized without importing it. Uses neither `hares_tf.audio` nor `hares_tf.models`: a
handle may be anybody's.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hares_tf.hub import saved_model
from hares_tf.hub.archive import ENDINGS, unpack
from hares_tf.hub.errors import HubError
from hares_tf.hub.model_card import ModelCard
from hares_tf.utils.errors import reason
from hares_tf.utils.files import DigestCache, sha256_file
from hares_tf.utils.tensorflow import import_tensorflow, literal_path
from hares_tf.utils.user_code import UserCodeError, import_user_code

PYTHON_PREFIX = "python:"
# Differs between two exports of the same model; requests that a server warms up with.
_NOT_CONTENT = {"fingerprint.pb", "assets.extra"}
# Sample rate of encoder objects that state none: that of all encoders of the paper.
_DEFAULT_SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class LocatedModule:
    """A module found, not loaded yet.

    Attributes:
        handle: what the user typed; of an object "python:" and its name.
        kind: "saved_model", "keras" (a `.keras` file) or "python" (a function or object).
        path: the SavedModel's folder or the `.keras` file; None for a function.
        name: the card's name, else that of the folder, file or function.
        card: the model card, empty if the module has none.
        function: the function of kind "python".
    """

    handle: str
    kind: str
    path: Path | None
    name: str
    card: ModelCard = field(default_factory=ModelCard)
    function: Callable | None = None

    @property
    def location(self) -> Path:
        """The path of a SavedModel or a `.keras` file."""
        assert self.path is not None
        return self.path

    def content_hash(self, digests: DigestCache | None = None) -> str | None:
        """SHA-256 over the module's files (names and bytes).

        Without `fingerprint.pb` and `assets.extra`: neither says what the module computes.

        A function is known by its attribute `fingerprint` (and its handle); without one there is
        nothing that says when it changes, and the result is None.
        """
        if self.kind == "python":
            fingerprint = getattr(self.function, "fingerprint", None)
            if fingerprint is None:
                return None
            return hashlib.sha256(f"{self.handle}\0{fingerprint}".encode()).hexdigest()
        if self.kind == "keras":
            return digests.digest(self.location) if digests else sha256_file(self.location)
        files = sorted(
            path
            for path in files_below(self.location)
            if path.relative_to(self.location).parts[0] not in _NOT_CONTENT
        )
        values = digests.digests(files) if digests else [sha256_file(path) for path in files]
        whole = hashlib.sha256()
        for path, value in zip(files, values, strict=True):
            whole.update(f"{path.relative_to(self.location).as_posix()}\0{value}\n".encode())
        return whole.hexdigest()


def locate(handle: str | os.PathLike | Callable) -> LocatedModule:
    """Finds the module that `handle` names.

    Args:
        handle: a folder that holds a SavedModel or numbered versions of it; a `.tar.gz` of one; a
            `.keras` file; an address of TF-Hub or Kaggle Models (fetched by tensorflow_hub, which
            imports TensorFlow); `python:package.module:function`; or, in a program, the encoder
            itself: a callable, waveform `[batch, samples]` float32 -> embedding `[batch, dim]`,
            with the attributes `sample_rate` (default 16000), `name` and `fingerprint` (see
            `LocatedModule.content_hash`), all optional.

    Raises:
        HubError: nothing usable is there; the message says what was found instead.
    """
    if callable(handle):
        return _located_object(handle)
    handle = os.fspath(handle)
    if handle.startswith(PYTHON_PREFIX):
        return _locate_function(handle)
    if "://" in handle and not handle.startswith("file://"):
        from hares_tf.hub import remote

        return _located_folder(handle, remote.resolve(handle), fallback_name=_last_words(handle))
    path = Path(handle.removeprefix("file://"))
    if not path.exists():
        raise HubError(f"{handle}: there is no such folder or file.")
    if path.is_dir():
        return _located_folder(handle, path)
    if path.suffix == ".keras":
        return LocatedModule(handle, "keras", path, path.stem)
    if path.name.endswith(ENDINGS):
        return _located_folder(handle, unpack(path), fallback_name=path.name.split(".")[0])
    raise HubError(
        f"{handle} is a file, but neither a .tar.gz nor a .keras file; name the folder that holds "
        "saved_model.pb."
    )


def load(handle: str | os.PathLike | Callable | LocatedModule):
    """Loads a module: what `tf.saved_model.load` or Keras gives, or the function itself.

    Unlike after `tf.saved_model.load`, new lengths and batch sizes cost nothing: see `_retraced`.

    Raises:
        HubError: the handle names no module, or it cannot be read.
    """
    module = handle if isinstance(handle, LocatedModule) else locate(handle)
    if module.kind == "python":
        return module.function
    tf = import_tensorflow()
    try:
        if module.kind == "keras":
            import keras

            return keras.saving.load_model(module.location)
        # Modules in the TF1 hub format carry no tags.
        tags: list[str] | None = [] if (module.location / "tfhub_module.pb").is_file() else None
        loaded = tf.saved_model.load(literal_path(module.location), tags=tags)
    except Exception as error:  # damaged files surface as whatever their reader trips over
        raise HubError(
            f"{module.handle} cannot be loaded ({reason(error)}); it may be incomplete: "
            "export or download it again."
        ) from error
    return _retraced(loaded)


def _retraced(loaded):
    """Traces a loaded module's call once more, for the shapes that it was exported for.

    A restored function is traced anew for each shape it is called with, and what is traced is
    optimized at its first call: about a second, once for every length of a clip. A trace for
    `[None, None]` that is there already takes them all. Traces for training are left to the first
    of their calls.
    """
    import tensorflow as tf

    def kind(value):
        return (value.shape.rank, value.dtype.name) if isinstance(value, tf.TypeSpec) else value

    def unnamed(value):
        # A name would have to be that of the export's signature, which may have had none.
        is_tensor = isinstance(value, tf.TensorSpec)
        return tf.TensorSpec(value.shape, value.dtype) if is_tensor else value

    call = loaded.__call__ if callable(loaded) else None
    forms = [form.structured_input_signature for form in getattr(call, "concrete_functions", ())]
    kinds = [repr(tf.nest.map_structure(kind, form)) for form in forms]
    for (positional, keywords), one in zip(forms, kinds, strict=True):
        # Of several forms that differ in sizes alone TensorFlow takes the first that fits, which
        # depends on the shapes of a call.
        for_training = any(value is True for value in (*positional, *keywords.values()))
        if kinds.count(one) > 1 or for_training:
            continue
        # Functions that cannot be bound by a description alone are traced by their calls.
        with contextlib.suppress(TypeError, ValueError), tf.init_scope():  # off anybody's tapes
            call.get_concrete_function(
                *tf.nest.map_structure(unnamed, positional),
                **tf.nest.map_structure(unnamed, keywords),
            )
    return loaded


def files_below(folder: Path) -> list[Path]:
    """All files, also behind links: wherever a module's parts live, they are its content."""
    paths: list[Path] = []
    seen: set[str] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        # Each folder once: a link to a folder above would never end.
        new: dict[str, str] = {}
        for name in folders:
            new.setdefault(os.path.realpath(Path(here, name)), name)
        folders[:] = [name for real, name in new.items() if real not in seen]
        seen.update(new)
        paths += [Path(here, name) for name in files]
    return paths


def _located_folder(handle: str, folder: Path, fallback_name: str | None = None) -> LocatedModule:
    directory = saved_model.folder_in(folder, str(folder))
    stem = directory.parent.name if saved_model.is_version(directory.name) else directory.name
    card = ModelCard.read(directory)
    name = card.get("name") or fallback_name or stem
    return LocatedModule(handle, "saved_model", directory, name, card)


def _locate_function(handle: str) -> LocatedModule:
    module_name, colon, function_name = handle.removeprefix(PYTHON_PREFIX).partition(":")
    if not (module_name and colon and function_name):
        raise HubError(f"{handle}: a function is named as python:package.module:function.")
    try:
        module = import_user_code(module_name, handle)
    except UserCodeError as error:
        raise HubError(str(error)) from error
    if not hasattr(module, function_name):
        raise HubError(f"{handle}: {module.__name__} has no {function_name}.")
    function = getattr(module, function_name)
    if not callable(function):
        raise HubError(f"{handle} is a {type(function).__name__}, not a function.")
    card = ModelCard({"sample_rate": getattr(function, "sample_rate", None)})
    name = getattr(function, "name", None)
    if not (isinstance(name, str) and name):
        name = function_name
    return LocatedModule(handle, "python", None, name, card, function)


def _located_object(encoder: Callable) -> LocatedModule:
    names = (getattr(encoder, attribute, None) for attribute in ("name", "__name__"))
    name = next((one for one in names if isinstance(one, str) and one), type(encoder).__name__)
    card = ModelCard({"sample_rate": getattr(encoder, "sample_rate", _DEFAULT_SAMPLE_RATE)})
    return LocatedModule(f"{PYTHON_PREFIX}{name}", "python", None, name, card, encoder)


def _last_words(address: str) -> str:
    """A name for an address: its last part that is no version number."""
    parts = [part for part in address.split("?")[0].split("/") if part]
    named = [part for part in parts if not part.isdigit()]
    return (named or parts)[-1].removesuffix(".tar.gz")
