"""Sounds in archives, which are read in place without unpacking them to the disk.

`.zip` and uncompressed `.tar` files have random access. A compressed tar can only be read from its
beginning: small ones (VoxForge has thousands of `.tgz`) are read into memory, large ones are
refused. Nothing is extracted to the disk, so paths inside an archive cannot do harm.
"""

import functools
import hashlib
import json
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hares_tf.audio import AudioError, load_audio
from hares_tf.recordings.archive_links import TarContents, follow_links
from hares_tf.recordings.errors import RecordingsError
from hares_tf.recordings.folders import (
    Listing,
    complete,
    hidden_reason,
    is_metadata,
    list_files,
)
from hares_tf.recordings.sound import FileSound, Sound, digest_of_unreadable
from hares_tf.utils.cache import cache_dir
from hares_tf.utils.errors import reason
from hares_tf.utils.files import DigestCache

_COMPRESSED_TAR = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
ENDINGS = (".zip", ".tar", *_COMPRESSED_TAR)
# In bytes. Reading one member of a compressed tar unpacks all of it.
_LARGEST_COMPRESSED_TAR = 64 * 2**20
# In bytes: hours of audio. A member that claims more is damaged or malicious.
_LARGEST_MEMBER = 2**30
# In bytes. Audio hardly compresses: an archive that unpacks to more is damaged or malicious.
_LARGEST_UNPACKED_TAR = 512 * 2**20
# In bytes. Longer ones are no targets of links.
_LONGEST_PATH = 4096
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    KeyError,
    NotImplementedError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class MemberSound:
    """An audio file inside an archive.

    Attributes:
        archive: absolute path of the archive.
        member: name of the file in the archive.
        offset: position of its bytes in an uncompressed tar; -1 otherwise.
        size: number of its unpacked bytes; -1 in a compressed tar.
    """

    archive: str
    member: str
    offset: int = -1
    size: int = -1

    @property
    def where(self) -> str:
        return f"{self.archive}!{self.member}"

    @property
    def container(self) -> str:
        return self.archive

    def read(self) -> bytes:
        """Returns the member's bytes.

        Raises:
            AudioError: the archive is damaged, or the member does not fit into memory.
        """
        try:
            if self.size > _LARGEST_MEMBER:
                raise EOFError(f"it would unpack to {self.size} bytes")
            if self.offset >= 0:
                with open(self.archive, "rb") as file:
                    file.seek(self.offset)
                    content = file.read(self.size)
                if len(content) < self.size:
                    raise EOFError("it ends too early")
                return content
            if self.archive.lower().endswith(".zip"):
                return _open_zip(self.archive, os.stat(self.archive).st_mtime_ns).read(self.member)
            unpacked = _unpacked_tar(self.archive, os.stat(self.archive).st_mtime_ns)
            return unpacked.files[self.member]
        except _DAMAGE as error:
            raise AudioError(
                f"The sound {self.member!r} in {self.archive!r} cannot be read ({reason(error)}); "
                "the archive may be damaged: fetch it again."
            ) from error
        except MemoryError as error:
            raise AudioError(
                f"The sound {self.member!r} in {self.archive!r} does not fit into memory; cut it "
                "into shorter recordings."
            ) from error

    def content_digest(self) -> str:
        try:
            return hashlib.sha256(self.read()).hexdigest()
        except AudioError as error:
            return digest_of_unreadable(self, error)

    def load(self, sample_rate: int) -> np.ndarray:
        content = self.read()
        try:
            return load_audio(content, sample_rate)
        except AudioError as error:
            raise AudioError(f"{self.where}: {error}") from error

    def decoded_bytes(self, sample_rate: int) -> int:
        # As for 16-bit samples. Compressed formats need more, but telling would take reading them.
        return 2 * max(0, self.size)


def place_of(path: str | os.PathLike) -> Path:
    """Returns the absolute path of an existing folder or archive.

    Raises:
        RecordingsError: it does not exist, or is another file.
    """
    place = Path(os.path.abspath(path))
    if not place.exists():
        raise RecordingsError(f"{path}: there is no such folder.")
    if not place.is_dir() and not place.name.lower().endswith(ENDINGS):
        raise RecordingsError(
            f"{path} is neither a folder nor an archive ({', '.join(ENDINGS)}); give the folder "
            "that holds the audio."
        )
    return place


def sounds_in(place: Path, ending: str | tuple[str, ...] = ".wav") -> dict[str, Sound]:
    """Returns the audio files in a folder or an archive by relative path (with "/").

    Args:
        place: a folder, or an archive with one of `ENDINGS`.
        ending: the ending of the files' names in lower case, or several of them.

    Raises:
        RecordingsError: a folder cannot be read, or the archive is damaged, is a large compressed
            tar, or does not fit into memory.
    """
    return complete(list_sounds(place, ending), place)


def list_sounds(place: Path, ending: str | tuple[str, ...] = ".wav") -> Listing[Sound]:
    """Lists the audio files in a folder or an archive, and what was left out.

    Links in archives are followed within the archive. Arguments and errors are those of
    `sounds_in`, except that what cannot be read is listed as left out.
    """
    if place.is_dir():
        listing = list_files(place, ending)
        files: dict[str, Sound] = {name: FileSound(path) for name, path in listing.files.items()}
        return Listing(files, listing.left_out, listing.unreadable)
    try:
        sounds, left_out = _list_archive(os.path.abspath(place))
    except _DAMAGE as error:
        raise RecordingsError(
            f"{place} cannot be read ({reason(error)}); it may be damaged: fetch it again."
        ) from error
    except MemoryError as error:
        raise RecordingsError(f"{place} does not fit into memory; unpack it.") from error
    wanted: dict[str, Sound] = {}
    for name, sound in sorted(sounds.items()):
        if name.lower().endswith(ending) and not is_metadata(name):
            if why := hidden_reason(name):
                left_out.append((name, why))
            else:
                wanted[name] = sound
    # A link without an ending may stand for a folder of recordings.
    left_out = [
        (name, why)
        for name, why in left_out
        if name.lower().endswith(ending) or not os.path.splitext(name)[1]
    ]
    return Listing(wanted, tuple(sorted(left_out)))


def _list_archive(archive: str) -> tuple[dict[str, Sound], list[tuple[str, str]]]:
    """Returns all files of an archive by name, and (name, reason) of what cannot be read."""
    name = archive.lower()
    modified = os.stat(archive).st_mtime_ns
    if name.endswith(".zip"):
        return _list_zip(archive, _open_zip(archive, modified))
    if name.endswith(".tar"):
        with tarfile.open(archive, "r:") as tar:
            contents: TarContents[Sound] = TarContents.read(
                tar,
                lambda member: MemberSound(archive, member.name, member.offset_data, member.size),
            )
        return contents.files, contents.left_out
    if not name.endswith(_COMPRESSED_TAR):
        raise RecordingsError(f"{archive} is neither a folder nor one of {', '.join(ENDINGS)}.")
    if os.path.getsize(archive) > _LARGEST_COMPRESSED_TAR:
        raise RecordingsError(
            f"{archive} is a large compressed archive, which cannot be read in place: "
            "decompress it to a .tar (for example with gunzip), or unpack it."
        )
    names, left_out = _tar_names(archive)
    sounds: dict[str, Sound] = {name: MemberSound(archive, name) for name in names}
    return sounds, [(name, why) for name, why in left_out]


def _list_zip(
    archive: str, packed: zipfile.ZipFile
) -> tuple[dict[str, Sound], list[tuple[str, str]]]:
    members = packed.infolist()
    sounds: dict[str, Sound] = {
        member.filename: MemberSound(archive, member.filename, -1, member.file_size)
        for member in members
        if not stat.S_ISLNK(member.external_attr >> 16)
    }
    # The content of a symbolic link is its target.
    links = {
        member.filename: packed.read(member).decode("utf-8", "surrogateescape")
        for member in members
        if stat.S_ISLNK(member.external_attr >> 16) and member.file_size < _LONGEST_PATH
    }
    return sounds, follow_links(sounds, links)


@functools.lru_cache(maxsize=32)
def _open_zip(archive: str, mtime: int) -> zipfile.ZipFile:
    """Opens a zip file; kept open, because reading 150,000 entries takes seconds. Thread-safe."""
    return zipfile.ZipFile(archive)


def _tar_names(archive: str) -> tuple[list[str], list[list[str]]]:
    """Returns the names in a compressed tar, and (name, reason) of what cannot be read.

    They are cached on disk, because listing the archive unpacks it.
    """
    cache = _listings(cache_dir())

    def names() -> str:
        contents = _unpacked_tar(archive, os.stat(archive).st_mtime_ns)
        return json.dumps([list(contents.files), contents.left_out])

    files, left_out = json.loads(cache.remembered([(f"{archive} 2", archive, names)])[0])
    return files, left_out


@functools.lru_cache(maxsize=4)
def _listings(folder: Path) -> DigestCache:
    return DigestCache(folder / "listings.sqlite")


@functools.lru_cache(maxsize=4)
def _unpacked_tar(archive: str, mtime: int) -> TarContents[bytes]:
    """Returns the files of a small compressed tar; the last few are kept for the next reads."""
    total = 0
    with tarfile.open(archive, "r:*") as tar:

        def content(member: tarfile.TarInfo) -> bytes:
            nonlocal total
            total += member.size
            if total > _LARGEST_UNPACKED_TAR:
                raise tarfile.TarError("it unpacks to more than such an archive holds")
            file = tar.extractfile(member)
            if file is None:
                raise tarfile.TarError(f"{member.name} has no content")
            return file.read()

        return TarContents.read(tar, content)
