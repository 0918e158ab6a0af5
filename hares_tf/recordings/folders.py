"""Folders of recordings."""

import os
from pathlib import Path


def audio_files(folder: Path, ending: str | tuple[str, ...] = ".wav") -> dict[str, str]:
    """All files below `folder` with an ending: path relative to it (with "/") -> absolute path.

    One walk over the tree, in sorted order; folders reached through links included once. The ending
    is in lower case; it may be several.
    """
    found: dict[str, str] = {}
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
                found[path[skipped:].replace(os.sep, "/")] = path
    return found
