"""No recording is lost in silence: links, hidden and unreadable folders x folders and archives."""

import io
import os
import tarfile
import zipfile

import numpy as np
import pytest
import soundfile

from hares_tf.recordings.archives import list_sounds, sounds_in
from hares_tf.recordings.errors import RecordingsError
from hares_tf.recordings.folders import AUDIO_ENDINGS
from hares_tf.recordings.labeled_folder import folder_source
from hares_tf.utils.errors import HaresError
from hares_tf.utils.files import sha256_file

KINDS = ("folder", "zip", "tar", "tgz")


def wav(seed: int) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, 400)
    soundfile.write(stream, noise, 16000, format="WAV")
    return stream.getvalue()


def put(folder, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def packed(folder, kind: str):
    """The folder, or an archive of it with its links kept as links."""
    if kind == "folder":
        return folder
    archive = folder.with_name(f"{folder.name}.{kind}")
    if kind != "zip":
        with tarfile.open(archive, "w:gz" if kind == "tgz" else "w:") as tar:
            tar.add(folder, ".")
        return archive
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                member = zipfile.ZipInfo(name)
                member.external_attr = 0o120777 << 16
                zipped.writestr(member, os.readlink(path))
            elif path.is_file():
                zipped.write(path, name)
    return archive


@pytest.fixture
def linked(tmp_path):
    folder = tmp_path / "set"
    for number in range(2):
        put(folder, f"dog/{number}.wav", wav(number))
        put(folder, f"pool/{number}.wav", wav(10 + number))
    (folder / "cat").mkdir()
    os.link(folder / "dog/0.wav", folder / "cat/hard.wav")
    (folder / "cat/soft.wav").symlink_to("../pool/1.wav")
    (folder / "cat/twice.wav").symlink_to("soft.wav")
    (folder / "also_dog").symlink_to("dog")  # sorted before "dog"
    (folder / "cat/through.wav").symlink_to("../also_dog/1.wav")
    (folder / "cat/nowhere.wav").symlink_to("../gone.wav")
    (folder / "cat/circle.wav").symlink_to("circle.wav")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_links(linked, kind):
    listing = list_sounds(packed(linked, kind), AUDIO_ENDINGS)
    for link, target in {
        "cat/hard.wav": "dog/0.wav",
        "cat/soft.wav": "pool/1.wav",
        "cat/twice.wav": "pool/1.wav",
        "cat/through.wav": "dog/1.wav",
    }.items():
        expected = sha256_file(linked / target)
        assert listing.files[link].content_digest() == expected, link
        assert len(listing.files[link].load(16000)) == 400
    reasons = dict(listing.left_out)
    assert reasons["also_dog"].startswith("links to")
    # Files that cannot be opened are listed and fail when they are loaded; archives know before.
    for name in ("cat/nowhere.wav", "cat/circle.wav"):
        if kind == "folder":
            with pytest.raises(HaresError):
                listing.files[name].load(16000)
        else:
            assert "not in the archive" in reasons[name]
    assert not any(name.startswith("also_dog/") for name in listing.files)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_and_system_folders_are_no_classes(tmp_path, kind):
    folder = tmp_path / "set"
    put(folder, "cat/a.wav", wav(0))
    put(folder, "dog/a.wav", wav(1))
    hidden = [".ipynb_checkpoints/a.wav", ".Trash-1000/files/dog/a.wav", "dog/.old/a.wav",
              "$RECYCLE.BIN/a.wav", "dog/.b.wav"]  # fmt: skip
    for name in [*hidden, "__MACOSX/dog/._a.wav", "dog/._a.wav"]:
        put(folder, name, wav(2))
    source = folder_source(packed(folder, kind), "subfolder")
    assert source.label_names == ("cat", "dog")
    assert [recording.id for recording in source.recordings] == ["cat/a.wav", "dog/a.wav"]
    # macOS' metadata of other files are no recordings; everything else is listed.
    assert sorted(name for name, _ in source.rejected) == sorted(hidden)
    assert all("hidden" in why for _, why in source.rejected)


@pytest.mark.parametrize("kind", ["tar", "tgz"])
def test_members_that_are_no_plain_files(tmp_path, kind):
    archive = tmp_path / f"set.{kind}"
    content = wav(0)
    with tarfile.open(archive, "w:gz" if kind == "tgz" else "w:") as tar:
        for name, type_ in (("cat/a.wav", tarfile.REGTYPE), ("cat/pipe.wav", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type = type_
            member.size = len(content) if type_ == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(content))
        # A sparse file in the format of pax 0.1: its map says where the pieces belong.
        member = tarfile.TarInfo("cat/sparse.wav")
        member.size = 512
        member.pax_headers = {
            "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "cat/sparse.wav",
            "GNU.sparse.size": "2048", "GNU.sparse.numblocks": "1", "GNU.sparse.map": "1024,512",
        }  # fmt: skip
        tar.addfile(member, io.BytesIO(content[:512]))
        last = tarfile.TarInfo("dog/b.wav")
        last.size = len(content)
        tar.addfile(last, io.BytesIO(content))
    source = folder_source(archive, "subfolder")
    assert [recording.id for recording in source.recordings] == ["cat/a.wav", "dog/b.wav"]
    reasons = dict(source.rejected)
    assert "sparse" in reasons["cat/sparse.wav"] and "device or a pipe" in reasons["cat/pipe.wav"]


def test_folders_that_cannot_be_listed(tmp_path, monkeypatch):
    folder = tmp_path / "set"
    put(folder, "cat/a.wav", wav(0))
    put(folder, "dog/more/b.wav", wav(1))
    scandir = os.scandir

    def refusing(path="."):
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    source = folder_source(folder)
    assert source.rejected == (("dog/more", "cannot be listed (Permission denied)"),)
    # Data sets are never read in part.
    with pytest.raises(RecordingsError, match=r"dog/more cannot be listed .* its permissions"):
        sounds_in(folder)


def test_links_out_of_the_folder_are_followed_once(tmp_path):
    put(tmp_path, "elsewhere/deep/a.wav", wav(0))
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "first").symlink_to("../elsewhere")
    (folder / "second").symlink_to("../elsewhere/deep")
    (tmp_path / "elsewhere/back").symlink_to("../set")
    listing = list_sounds(folder)
    assert list(listing.files) == ["first/deep/a.wav"]
    assert [name for name, _ in listing.left_out] == ["second", "first/back"]
