"""Audio files in a folder."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from hares_tf.recordings.errors import RecordingsError
from hares_tf.utils.errors import reason

#: What libsndfile reads under its usual endings. It does not read those of the last row; they are
#: included so that such files are listed as rejected instead of being overlooked.
AUDIO_ENDINGS = (
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au",
    ".snd", ".caf", ".w64", ".rf64", ".sph",
    ".m4a", ".aac", ".wma", ".amr",
)  # fmt: skip

# Folders that desktops and file servers make for deleted files, thumbnails and metadata.
_SYSTEM_FOLDERS = frozenset(
    ("__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found", "@eaDir", "#recycle")
)

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Listing(Generic[_Item]):
    """The files of one kind in a folder or an archive.

    Attributes:
        files: a path or a sound by relative path (with "/").
        left_out: (relative path, reason) of files and folders that are not in `files`, although
            they may hold such files.
        unreadable: those of them that could not be read.
    """

    files: dict[str, _Item]
    left_out: tuple[tuple[str, str], ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()


def hidden_reason(name: str) -> str:
    """Returns why the file with a relative path (with "/") is no recording of a user, or ""."""
    *folders, file = name.split("/")
    for folder in folders:
        if folder in _SYSTEM_FOLDERS or (folder.startswith(".") and folder not in (".", "..")):
            return f"lies in the hidden folder {folder}"
    return "is a hidden file" if file.startswith(".") else ""


def is_metadata(name: str) -> bool:
    """Whether a file holds macOS' metadata of another one, which has the same ending."""
    return name.rpartition("/")[2].startswith("._")


def list_files(folder: Path, ending: str | tuple[str, ...] = ".wav") -> Listing[str]:
    """Lists the absolute paths of all files below a folder by relative path (with "/").

    Hidden files and files in hidden folders are left out. The tree is walked once, in sorted
    order. Folders that are reached through links are included once, under their own name if they
    lie in the tree.

    Args:
        folder: where to look.
        ending: the ending of the files' names in lower case, or several of them.
    """
    root = os.path.abspath(folder)
    files: dict[str, str] = {}
    left_out: list[tuple[str, str]] = []
    unreadable: list[tuple[str, str]] = []
    seen: dict[str, str] = {}  # real path -> relative path
    skipped = len(os.path.join(root, ""))

    def relative(path: str) -> str:
        # Every path begins with the root: slicing it off is far quicker than relpath.
        return path[skipped:].replace(os.sep, "/")

    def refused(error: OSError) -> None:
        name = relative(str(error.filename)) or "."
        unreadable.append((name, f"cannot be listed ({reason(error)})"))

    pending = [root]
    while pending:
        links: list[str] = []
        for start in pending:
            real = os.path.realpath(start)
            if start != root and real in seen:
                target = seen[real] or "the folder itself"
                left_out.append((relative(start), f"links to {target}, which is listed already"))
                continue
            for here, folders, names in os.walk(start, onerror=refused):
                real = os.path.realpath(here)
                if real in seen:
                    folders.clear()
                    continue
                seen[real] = relative(here)
                links += [
                    path for name in folders if os.path.islink(path := os.path.join(here, name))
                ]
                folders[:] = sorted(
                    name for name in folders if not os.path.islink(os.path.join(here, name))
                )
                for name in sorted(names):
                    if name.lower().endswith(ending):
                        path = os.path.join(here, name)
                        files[relative(path)] = path
        pending = sorted(links)
    for name in list(files):
        if why := hidden_reason(name):
            del files[name]
            if not is_metadata(name):
                left_out.append((name, why))
    return Listing(files, (*left_out, *unreadable), tuple(unreadable))


def audio_files(folder: Path, ending: str | tuple[str, ...] = ".wav") -> dict[str, str]:
    """Returns the absolute path of all files below a folder by relative path (with "/").

    Raises:
        RecordingsError: a folder in it cannot be read.
    """
    return complete(list_files(folder, ending), folder)


def complete(listing: Listing[_Item], place: str | os.PathLike) -> dict[str, _Item]:
    """Returns the files of a listing.

    Raises:
        RecordingsError: something in it could not be read, so it may lack files.
    """
    if listing.unreadable:
        name, why = listing.unreadable[0]
        more = f" and {len(listing.unreadable) - 1} more" * (len(listing.unreadable) > 1)
        raise RecordingsError(f"{os.path.join(place, name)} {why}{more}; check its permissions.")
    return listing.files
