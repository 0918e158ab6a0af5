"""Archives of modules: reproducible bytes, safe unpacking, and a cache that repairs itself."""

import errno
import fcntl
import gzip
import hashlib
import io
import os
import shutil
import struct
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from hares_tf.hub import HubError, archive, locate
from hares_tf.utils.cache import cache_dir

pytestmark = pytest.mark.usefixtures("own_cache")


class TestPack:
    def test_equal_files_give_equal_bytes(self, small_module, packed, tmp_path):
        copy = tmp_path / "copy"
        shutil.copytree(small_module, copy)
        for path in copy.rglob("*"):
            os.utime(path, (1, 1))
            path.chmod(0o700)
        link = tmp_path / "link"
        link.symlink_to(copy)
        for number, folder in enumerate((copy, link)):
            other = tmp_path / str(number) / "other_name.tar.gz"
            digest = archive.pack(folder, other)
            assert other.read_bytes() == packed.read_bytes()
            assert digest == hashlib.sha256(packed.read_bytes()).hexdigest()
            assert other.with_name("other_name.tar.gz.sha256").read_text() == (
                f"{digest}  other_name.tar.gz\n"
            )
        (copy / "saved_model.pb").write_bytes(b"other")
        assert archive.pack(copy, tmp_path / "n.tar.gz") != digest

    def test_nothing_of_the_machine_is_in_it(self, packed):
        header = packed.read_bytes()[:10]
        flags, modified = header[3], struct.unpack("<I", header[4:8])[0]
        assert (flags, modified) == (0, 0)  # neither name nor time
        with tarfile.open(packed) as tar:
            entries = tar.getmembers()
        names = [entry.name for entry in entries]
        assert names == sorted(names) and {"saved_model.pb", "assets/words.txt"} <= set(names)
        # tensorflow_hub writes into those folders only that have an entry.
        assert {"assets", "variables"} <= {entry.name for entry in entries if entry.isdir()}
        for entry in entries:
            assert (entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname) == (
                0,
                0,
                0,
                "",
                "",
            )
            assert entry.mode == (0o755 if entry.isdir() else 0o644)

    def test_what_cannot_be_packed(self, small_module, tmp_path):
        with pytest.raises(HubError, match=r"end in .tar.gz"):
            archive.pack(small_module, tmp_path / "m.zip")
        with pytest.raises(HubError, match="inside the module"):
            archive.pack(small_module, small_module / "m.tar.gz")

    def test_there_and_back(self, small_module, packed):
        found = locate(packed)
        assert found.content_hash() == locate(small_module).content_hash()
        loaded = tf.saved_model.load(str(found.path))
        np.testing.assert_array_equal(loaded(tf.ones([1, 2])), [[2, 2]])


def _entry(packed) -> Path:
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    return cache_dir() / "modules" / digest[:32]


class TestCache:
    @pytest.mark.parametrize(
        "lost",
        ["module/variables/variables.index", "module/assets", "module", "files.json", "."],
    )
    def test_what_a_cleaner_deleted_is_unpacked_again(self, small_module, packed, lost):
        wanted = locate(packed).content_hash()
        path = _entry(packed) / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert locate(packed).content_hash() == wanted == locate(small_module).content_hash()
        assert [p.name for p in (cache_dir() / "modules").glob(".tmp-*")] == []

    def test_a_cut_file_and_a_damaged_list(self, packed):
        wanted = locate(packed).content_hash()
        entry = _entry(packed)
        (entry / "module" / "saved_model.pb").write_bytes(b"cut")
        assert locate(packed).content_hash() == wanted
        for text in ("{", "[]", '{"a": 1}'):
            (entry / "files.json").write_text(text)
            assert locate(packed).content_hash() == wanted

    def test_a_whole_copy_is_used_as_it_is(self, packed):
        before = locate(packed).path.stat().st_ino
        assert locate(packed).path.stat().st_ino == before

    def test_a_link_in_the_cache_is_replaced_not_followed(self, packed, tmp_path):
        entry = _entry(packed)
        locate(packed)
        shutil.rmtree(entry)
        (tmp_path / "precious").mkdir()
        (tmp_path / "precious" / "thesis.tex").touch()
        entry.symlink_to(tmp_path / "precious")
        locate(packed)
        assert (tmp_path / "precious" / "thesis.tex").exists() and not entry.is_symlink()


class TestSeveralAtOnce:
    """Threads stand for processes: each opens the lock by itself."""

    @pytest.fixture
    def damaged(self, packed) -> Path:
        """The cached copy, which has lost a file."""
        archive.unpack(packed)
        (_entry(packed) / "module" / "saved_model.pb").unlink()
        return _entry(packed)

    def test_one_mends_the_copy_for_all(self, packed, damaged, monkeypatch):
        extract, begun = archive._extract, []

        def slowly(*arguments):
            begun.append(arguments)
            time.sleep(0.2)  # in which all others find the damage
            return extract(*arguments)

        def is_whole(_) -> bool:
            return (archive.unpack(packed) / "saved_model.pb").is_file()

        monkeypatch.setattr(archive, "_extract", slowly)
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(is_whole, range(4)))
        assert len(begun) == 1
        assert list(damaged.parent.glob(f"*{damaged.name}*")) == [damaged]

    def test_what_another_has_mended_stays(self, packed, damaged, monkeypatch):
        is_intact, judged = archive._is_intact, threading.Event()

        def judge(folder):
            found = is_intact(folder)
            judged.set()
            return found

        monkeypatch.setattr(archive, "_is_intact", judge)
        before = damaged.stat().st_ino
        with ThreadPoolExecutor(1) as pool:
            with open(damaged.with_name(f"{damaged.name}.lock"), "a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                waiting = pool.submit(archive.unpack, packed)
                assert judged.wait(timeout=60)
                with tarfile.open(packed) as tar:
                    tar.extract("saved_model.pb", damaged / "module", filter="data")
            assert waiting.result(timeout=60) == damaged / "module"
        assert damaged.stat().st_ino == before

    @pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
    def test_where_there_are_no_locks(self, packed, damaged, monkeypatch, number):
        asked = []

        def flock(*_):
            asked.append(number)
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)
        assert (archive.unpack(packed) / "saved_model.pb").is_file()
        assert asked == [number]
        assert list(damaged.parent.glob(f"*{damaged.name}*")) == [damaged]


def _tar(path: Path, *members, compress=True) -> Path:
    """An archive of (name, content or type, further fields) entries."""
    with tarfile.open(path, "w:gz" if compress else "w") as tar:
        for name, what, *fields in members:
            entry = tarfile.TarInfo(name)
            if isinstance(what, bytes) and len(what) != 1:
                entry.size = len(what)
            else:
                entry.type = what
            for key, value in dict(*fields).items():
                setattr(entry, key, value)
            tar.addfile(entry, io.BytesIO(what) if entry.type == tarfile.REGTYPE else None)
    return path


class TestHostileArchives:
    @pytest.mark.parametrize(
        ("members", "word"),
        [
            ([("../evil", b"evil")], "leads out"),
            ([("a/../../evil", b"evil")], "leads out"),
            ([("/tmp/evil-of-hares", b"evil")], "leads out"),
            ([("a", tarfile.SYMTYPE, {"linkname": ".."}), ("a/evil", b"evil")], "no plain file"),
            ([("a", tarfile.LNKTYPE, {"linkname": "/etc/passwd"})], "no plain file"),
            ([("a", tarfile.CHRTYPE)], "no plain file"),
            ([("a", tarfile.BLKTYPE)], "no plain file"),
            ([("a", tarfile.FIFOTYPE)], "no plain file"),
            ([("a", b"file"), ("a/b", b"file")], "a file and a folder"),
            ([("a/b", b"file"), ("a", b"file")], "a file and a folder"),
            ([("n" * 300, b"file")], "a name that this system cannot store .File name too long"),
            ([("n" * 300 + "/a", b"file")], "a name that this system cannot store"),
            ([(("d" * 250 + "/") * 20 + "a", b"file")], "a name that this system cannot store"),
            ([("a", b"file", {"mtime": 2**63})], "cannot be unpacked"),
            ([("a", b"file", {"pax_headers": {"mtime": "inf"}})], "cannot be unpacked"),
            ([("a", b"file", {"pax_headers": {"mtime": "nan"}})], "cannot be unpacked"),
            ([("a", b"file", {"mtime": -(2.0**70)})], "cannot be unpacked"),
            ([("a", b"file")], "m.tar.gz holds no saved_model.pb"),
            ([("a", b"file", {"mode": 2**40})], "cannot be unpacked|holds no"),
        ],
    )
    def test_are_refused_and_leave_nothing(self, members, word, tmp_path):
        before = sorted((cache_dir() / "modules").glob("*"))
        with pytest.raises(HubError, match=word):
            locate(_tar(tmp_path / "m.tar.gz", *members))
        assert sorted((cache_dir() / "modules").glob("*")) == before
        assert not (tmp_path / "evil").exists() and not Path("/tmp/evil-of-hares").exists()

    def test_one_that_claims_too_many_bytes(self, tmp_path):
        entry = tarfile.TarInfo("saved_model.pb")
        entry.size = archive.MAX_BYTES + 1
        with gzip.open(tmp_path / "m.tar.gz", "wb") as file:
            file.write(entry.tobuf() + bytes(1024))
        with pytest.raises(HubError, match=r"more than any module holds .32 GiB"):
            locate(tmp_path / "m.tar.gz")

    def test_one_that_holds_too_much(self, tmp_path, monkeypatch):
        monkeypatch.setattr(archive, "MAX_BYTES", 10_000)
        with pytest.raises(HubError, match="more than any module"):
            locate(_tar(tmp_path / "m.tar.gz", ("a", bytes(6000)), ("b", bytes(6000))))
        monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
        some = [(str(number), tarfile.DIRTYPE) for number in range(4)]
        with pytest.raises(HubError, match="3 entries"):
            locate(_tar(tmp_path / "n.tar.gz", *some))

    def test_a_header_that_would_fill_the_memory(self, tmp_path):
        """A name of 2 MiB compresses to nothing; one of 20 GiB would, too."""
        entry = tarfile.TarInfo("././@LongLink")
        entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2**21
        with gzip.open(tmp_path / "m.tar.gz", "wb") as file:
            file.write(entry.tobuf(tarfile.GNU_FORMAT) + b"a" * 2**21 + bytes(1024))
        with pytest.raises(HubError, match="claims a header of 2097152"):
            locate(tmp_path / "m.tar.gz")

    def test_headers_without_end(self, tmp_path):
        entry = tarfile.TarInfo("././@LongLink")
        entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 10
        with gzip.open(tmp_path / "m.tar.gz", "wb") as file:
            file.write((entry.tobuf(tarfile.GNU_FORMAT) + b"a" * 10 + bytes(502)) * 5000)
        with pytest.raises(HubError, match="cannot be unpacked"):
            locate(tmp_path / "m.tar.gz")

    def test_a_name_that_is_none(self, tmp_path):
        member = ("a", b"file", {"pax_headers": {"path": "a\0b"}})
        with pytest.raises(HubError, match="cannot be unpacked"):
            locate(_tar(tmp_path / "m.tar.gz", member))


class TestDiskSpace:
    @pytest.fixture
    def packed(self, tmp_path) -> Path:
        return _tar(tmp_path / "m.tar.gz", ("saved_model.pb", bytes(6000)), ("b", bytes(6000)))

    @pytest.fixture
    def disk(self, monkeypatch):
        """Sets how many bytes are free of so many, each time that it is asked."""

        def set_to(total, *free):
            answers = iter(free)
            monkeypatch.setattr(
                "shutil.disk_usage",
                lambda path: SimpleNamespace(total=total, free=next(answers)),
            )

        yield set_to
        assert list((cache_dir() / "modules").glob(".tmp-*")) == []

    def test_refused_before_an_entry_is_written(self, packed, disk, monkeypatch):
        def extract(*_, **__):
            raise AssertionError

        monkeypatch.setattr(tarfile.TarFile, "extract", extract)
        # A twentieth is kept: 5,000 are left.
        disk(1_000_000, 55_000)
        with pytest.raises(HubError, match=r"needs 0 MB of disk space, .* set HARES_CACHE_DIR"):
            archive.unpack(packed)
        assert not _entry(packed).exists()

    def test_a_small_file_that_promises_much(self, tmp_path, disk):
        entry = tarfile.TarInfo("saved_model.pb")
        entry.size = 31 * 2**30
        with gzip.open(tmp_path / "m.tar.gz", "wb") as file:
            file.write(entry.tobuf() + bytes(1024))
        # Of large disks one GiB is kept.
        disk(10**12, 32 * 2**30 - 1)
        with pytest.raises(HubError, match=r"33,286 MB .* only 34,360 MB are free, of which 1,074"):
            archive.unpack(tmp_path / "m.tar.gz")

    def test_a_disk_that_others_fill_meanwhile(self, packed, disk):
        disk(1_000_000, 500_000, 55_999)
        with pytest.raises(HubError, match="disk space"):
            archive.unpack(packed)
        assert not _entry(packed).exists()

    def test_what_fits_to_the_byte(self, packed, disk):
        disk(1_000_000, 56_000, 56_000)
        assert (archive.unpack(packed) / "b").stat().st_size == 6000

    def test_a_file_system_that_does_not_tell(self, tmp_path, disk):
        disk(0, *6 * [0])
        packed = _tar(tmp_path / "m.tar.gz", ("saved_model.pb", bytes(6001)))
        assert (archive.unpack(packed) / "saved_model.pb").is_file()


class TestDamagedArchives:
    @pytest.mark.parametrize("compress", [True, False])
    def test_cut_anywhere(self, compress, tmp_path):
        """Also behind the last file: what is missing there is the checksum of the whole."""
        content = np.random.default_rng(0).bytes(3000)
        whole = _tar(
            tmp_path / "whole.tar.gz",
            ("saved_model.pb", content),
            ("b", content),
            compress=compress,
        ).read_bytes()
        # Of a plain tar the blocks of zeros behind the end may be cut.
        lengths = range(0, len(whole) if compress else 2 * (512 + 3072) + 511, 61)
        cut = tmp_path / "cut.tar.gz"
        for length in lengths:
            cut.write_bytes(whole[:length])
            with pytest.raises(HubError, match="cannot be unpacked"):
                locate(cut)
        cut.write_bytes(whole)
        assert (locate(cut).path / "b").read_bytes() == content

    def test_a_changed_byte(self, tmp_path):
        content = np.random.default_rng(0).bytes(3000)
        path = _tar(tmp_path / "m.tar.gz", ("saved_model.pb", content))
        data = bytearray(path.read_bytes())
        data[1500] ^= 1
        path.write_bytes(data)
        with pytest.raises(HubError, match="cannot be unpacked"):
            locate(path)

    def test_the_checksum_beside_it(self, small_module, packed):
        locate(packed)
        sums = packed.with_name("m.tar.gz.sha256")
        sums.write_text(f"{'0' * 64}  m.tar.gz\n")
        with pytest.raises(HubError, match="does not fit its checksum"):
            locate(packed)
        # A list of other files, and none at all, say nothing.
        sums.write_text(f"{'0' * 64}  other.tar.gz\n")
        locate(packed)
        sums.unlink()
        locate(packed)

    def test_what_else_is_in_archives(self, tmp_path):
        """A top folder, and what macOS adds."""
        members = [("m/saved_model.pb", b"model"), ("__MACOSX/x", b"junk"), (".DS_Store", b"junk")]
        assert locate(_tar(tmp_path / "m.tar.gz", *members)).path.name == "m"
