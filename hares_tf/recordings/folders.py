"""Audio files in a folder."""

import os
from pathlib import Path

#: What libsndfile reads under its usual endings. It does not read those of the last row; they are
#: included so that such files are listed as rejected instead of being overlooked.
AUDIO_ENDINGS = (
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au",
    ".snd", ".caf", ".w64", ".rf64",
    ".m4a", ".aac", ".wma", ".amr",
)  # fmt: skip


def audio_files(folder: Path, ending: str | tuple[str, ...] = ".wav") -> dict[str, str]:
    """Returns the absolute path of all files below a folder by relative path (with "/").

    The tree is walked once, in sorted order; folders reached through links are included once.

    Args:
        folder: where to look.
        ending: the ending of the files' names in lower case, or several of them.
    """
    files: dict[str, str] = {}
    root = os.path.abspath(folder)
    skipped = len(os.path.join(root, ""))
    seen: set[str] = set()
    for here, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(ending) and not name.startswith("."):
                path = os.path.join(here, name)
                # Every path begins with the root: slicing it off is far quicker than relpath.
                files[path[skipped:].replace(os.sep, "/")] = path
    return files
