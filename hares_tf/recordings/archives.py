"""Data sets in archives, read in place: no unpacking, no second copy on disk.

`.zip` and uncompressed `.tar` are read at random. A compressed tar can only be read from its
beginning: small ones (VoxForge's thousands of `.tgz`) are, a large one is refused with the way out.
Nothing is ever extracted, so no path inside an archive can lead anywhere.
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
from hares_tf.utils.files import DigestCache, cache_dir

_COMPRESSED_TAR = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
ENDINGS = (".zip", ".tar", *_COMPRESSED_TAR)
# A compressed tar above this is not read member by member: every read would unpack all of it.
_LARGEST_COMPRESSED_TAR = 64 * 2**20
# Hours of audio; a member that claims more is damaged or malicious.
_LARGEST_MEMBER = 2**30
# Audio hardly compresses: what unpacks to more is damaged or malicious.
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
        archive: absolute path, as text.
        member: its name in there.
        offset: where its bytes lie in an uncompressed tar; -1 otherwise.
        size: number of its bytes, unpacked; -1 in a compressed tar.
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
        """The member's bytes; raises AudioError where the archive is damaged."""
        try:
            if self.offset >= 0:
                with open(self.archive, "rb") as file:
                    file.seek(self.offset)
                    content = file.read(self.size)
                if len(content) < self.size:
                    raise EOFError("it ends too early")
                return content
            if self.size > _LARGEST_MEMBER:
                raise EOFError(f"it would unpack to {self.size} bytes")
            if self.archive.lower().endswith(".zip"):
                return _open_zip(self.archive, os.stat(self.archive).st_mtime_ns).read(self.member)
            return _unpacked_tar(self.archive, os.stat(self.archive).st_mtime_ns)[self.member]
        except _DAMAGE as error:
            raise AudioError(
                f"The sound {self.member!r} in {self.archive!r} cannot be read ({error}); the "
                "archive may be damaged: fetch it again."
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
        # Of 16-bit samples; compressed formats need more, and a look inside would need reading.
        return 2 * max(0, self.size)


def sounds_in(place: Path, ending: str | tuple[str, ...] = ".wav") -> dict[str, Sound]:
    """All audio files in a folder or an archive: relative path (with "/") -> sound.

    Args:
        place: a folder, or an archive with one of `ENDINGS`.
        ending: of the audio files, in lower case; or several.

    Raises:
        RecordingsError: the archive is damaged, or is a large compressed tar.
    """
    if place.is_dir():
        return {name: FileSound(path) for name, path in audio_files(place, ending).items()}
    archive, name = os.path.abspath(place), place.name.lower()
    try:
        if name.endswith(".zip"):
            members = _open_zip(archive, os.stat(archive).st_mtime_ns).infolist()
            found = {m.filename: MemberSound(archive, m.filename, -1, m.file_size) for m in members}
        elif name.endswith(".tar"):
            with tarfile.open(archive, "r:") as tar:
                found = {
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
                    "decompress it to a .tar (for example with gunzip), or unpack it"
                )
            found = {m.removeprefix("./"): MemberSound(archive, m) for m in _tar_names(archive)}
        else:
            raise RecordingsError(f"{place} is neither a folder nor one of {', '.join(ENDINGS)}")
    except _DAMAGE as error:
        raise RecordingsError(
            f"{archive} is no readable archive ({error}); fetch it again"
        ) from error
    return {
        name: sound
        for name, sound in sorted(found.items())
        if name.lower().endswith(ending) and not os.path.basename(name).startswith(".")
    }


@functools.lru_cache(maxsize=32)
def _open_zip(archive: str, mtime: int) -> zipfile.ZipFile:
    """Kept open: reading the directory of 150,000 members takes seconds. Safe for threads."""
    return zipfile.ZipFile(archive)


def _tar_names(archive: str) -> list[str]:
    """Members of a compressed tar; remembered, since listing them takes unpacking them."""
    cache = _listings(cache_dir())

    def names() -> str:
        return json.dumps(list(_unpacked_tar(archive, os.stat(archive).st_mtime_ns)))

    return json.loads(cache.remembered([(archive, archive, names)])[0])


@functools.lru_cache(maxsize=4)
def _listings(folder: Path) -> DigestCache:
    return DigestCache(folder / "listings.sqlite")


@functools.lru_cache(maxsize=4)
def _unpacked_tar(archive: str, mtime: int) -> dict[str, bytes]:
    """All members of a small compressed tar; clips are read in order, so a few are enough."""
    contents, total = {}, 0
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            if member.isfile():
                total += member.size
                if total > _LARGEST_UNPACKED_TAR:
                    raise tarfile.TarError("it unpacks to more than such an archive holds")
                contents[member.name] = tar.extractfile(member).read()
    return contents
