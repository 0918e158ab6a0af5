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
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hares_tf.audio import AudioError, load_audio
from hares_tf.recordings.errors import RecordingsError
from hares_tf.recordings.folders import audio_files
from hares_tf.recordings.sound import FileSound, Sound, digest_of_unreadable
from hares_tf.utils.errors import reason
from hares_tf.utils.files import DigestCache, cache_dir

_COMPRESSED_TAR = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
ENDINGS = (".zip", ".tar", *_COMPRESSED_TAR)
# In bytes. Reading one member of a compressed tar unpacks all of it.
_LARGEST_COMPRESSED_TAR = 64 * 2**20
# In bytes: hours of audio. A member that claims more is damaged or malicious.
_LARGEST_MEMBER = 2**30
# In bytes. Audio hardly compresses: an archive that unpacks to more is damaged or malicious.
_LARGEST_UNPACKED_TAR = 512 * 2**20
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
            return _unpacked_tar(self.archive, os.stat(self.archive).st_mtime_ns)[self.member]
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
        RecordingsError: the archive is damaged, is a large compressed tar, or does not fit into
            memory.
    """
    if place.is_dir():
        return {name: FileSound(path) for name, path in audio_files(place, ending).items()}
    archive, name = os.path.abspath(place), place.name.lower()
    try:
        if name.endswith(".zip"):
            members = _open_zip(archive, os.stat(archive).st_mtime_ns).infolist()
            sounds = {
                m.filename: MemberSound(archive, m.filename, -1, m.file_size) for m in members
            }
        elif name.endswith(".tar"):
            with tarfile.open(archive, "r:") as tar:
                sounds = {
                    member.name.removeprefix("./"): MemberSound(
                        archive, member.name, member.offset_data, member.size
                    )
                    for member in tar
                    if member.isfile()
                }
        elif name.endswith(_COMPRESSED_TAR):
            if os.path.getsize(archive) > _LARGEST_COMPRESSED_TAR:
                raise RecordingsError(
                    f"{archive} is a large compressed archive, which cannot be read in place: "
                    "decompress it to a .tar (for example with gunzip), or unpack it."
                )
            sounds = {m.removeprefix("./"): MemberSound(archive, m) for m in _tar_names(archive)}
        else:
            raise RecordingsError(f"{place} is neither a folder nor one of {', '.join(ENDINGS)}.")
    except _DAMAGE as error:
        raise RecordingsError(
            f"{archive} cannot be read ({reason(error)}); it may be damaged: fetch it again."
        ) from error
    except MemoryError as error:
        raise RecordingsError(f"{archive} does not fit into memory; unpack it.") from error
    return {
        name: sound
        for name, sound in sorted(sounds.items())
        if name.lower().endswith(ending) and not os.path.basename(name).startswith(".")
    }


@functools.lru_cache(maxsize=32)
def _open_zip(archive: str, mtime: int) -> zipfile.ZipFile:
    """Opens a zip file; kept open, because reading 150,000 entries takes seconds. Thread-safe."""
    return zipfile.ZipFile(archive)


def _tar_names(archive: str) -> list[str]:
    """Returns the names in a compressed tar; cached on disk, because listing it unpacks it."""
    cache = _listings(cache_dir())

    def names() -> str:
        return json.dumps(list(_unpacked_tar(archive, os.stat(archive).st_mtime_ns)))

    return json.loads(cache.remembered([(archive, archive, names)])[0])


@functools.lru_cache(maxsize=4)
def _listings(folder: Path) -> DigestCache:
    return DigestCache(folder / "listings.sqlite")


@functools.lru_cache(maxsize=4)
def _unpacked_tar(archive: str, mtime: int) -> dict[str, bytes]:
    """Returns the files of a small compressed tar; the last few are kept for the next reads."""
    contents, total = {}, 0
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                total += member.size
                if total > _LARGEST_UNPACKED_TAR:
                    raise tarfile.TarError("it unpacks to more than such an archive holds")
                contents[member.name] = content.read()
    return contents
