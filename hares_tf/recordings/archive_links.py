"""Links within archives, which stand for other members."""

import posixpath
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
# Longer chains of links are circles.
_MOST_LINKS = 40


@dataclass(frozen=True)
class TarContents(Generic[_Item]):
    """The files of a tar archive.

    Attributes:
        files: an item for each file by its name, without "./" in front.
        left_out: (name, reason) of the members that cannot be read.
    """

    files: dict[str, _Item]
    left_out: list[tuple[str, str]]

    @classmethod
    def read(
        cls, tar: tarfile.TarFile, item: Callable[[tarfile.TarInfo], _Item]
    ) -> "TarContents[_Item]":
        """Reads all members of an archive once.

        Args:
            tar: an open archive.
            item: returns what is kept of a file.
        """
        files: dict[str, _Item] = {}
        links: dict[str, str] = {}
        left_out: list[tuple[str, str]] = []
        for member in tar:
            name = member.name.removeprefix("./")
            if member.issparse():
                # Its bytes lie in pieces that tarfile alone can put together.
                left_out.append((name, "is stored as a sparse file; unpack the archive"))
            elif member.isfile():
                files[name] = item(member)
                links.pop(name, None)
            elif member.islnk():  # the target is a name within the archive
                links[name] = "/" + member.linkname
            elif member.issym():
                links[name] = member.linkname
            elif not member.isdir():
                left_out.append((name, "is no file but a device or a pipe"))
        return cls(files, left_out + follow_links(files, links))


def follow_links(files: dict[str, _Item], links: Mapping[str, str]) -> list[tuple[str, str]]:
    """Adds an item to `files` for every link to one of them.

    Args:
        files: items by name; changed.
        links: targets by name of the link: relative to its folder, or from "/" on to the top of
            the archive.

    Returns:
        (name, reason) of the links to folders, to nothing, and out of the archive.
    """
    folders = {parent for name in files for parent in _parents(name)}
    added: dict[str, _Item] = {}
    left_out = []
    for link in links:
        name = link
        for _ in range(_MOST_LINKS):
            if name not in links:
                break
            name = posixpath.normpath(posixpath.join("/", posixpath.dirname(name), links[name]))[1:]
            name = _through_folders(name, links)
        if name in files:
            added[link] = files[name]
        elif name in folders:
            left_out.append((link, f"links to the folder {name}, which is listed already"))
        else:
            left_out.append(
                (link, f"links to {links[link].lstrip('/')}, which is not in the archive")
            )
    files |= added
    return left_out


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _through_folders(name: str, links: Mapping[str, str]) -> str:
    """Returns `name` with the first of its folders that is a link replaced by its target."""
    for parent in _parents(name):
        if parent in links:
            target = posixpath.join("/", posixpath.dirname(parent), links[parent])
            return posixpath.normpath(target)[1:] + name[len(parent) :]
    return name
