"""The embedding store: what was written comes back, and nothing else ever does."""

import contextlib
import errno
import json
import os
import sqlite3

import numpy as np
import pytest

from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.embeddings import store
from hares_tf.evaluation.embeddings.store import EmbeddingStore
from hares_tf.utils.files import DigestCache, atomic_directory, atomic_file


def _write(space, clips, seed=0):
    random = np.random.default_rng(seed)
    rows = {c: random.normal(size=(n, 5)).astype(np.float32) for c, n in clips.items()}
    with space.writer(notes={"by": "test"}) as writer:
        for clip, embeddings in rows.items():
            writer.add(clip, embeddings)
    return rows


def test_round_trip_in_any_order_and_by_a_later_reader(tmp_path):
    description = {"model": "m", "window": 1.0}
    rows = _write(EmbeddingStore(tmp_path).space(description), {"a": 3, "b": 1, "c": 2})
    again = EmbeddingStore(tmp_path).space(description)
    assert again.rows(["c", "a"]) == [2, 3]
    np.testing.assert_array_equal(again.gather(["c", "a"]), np.vstack([rows["c"], rows["a"]]))
    assert "b" in again and "d" not in again
    assert again.notes() == {"by": "test"}
    with pytest.raises(KeyError):
        again.gather(["a", "d"])


def test_another_description_is_another_space(tmp_path):
    shelf = EmbeddingStore(tmp_path)
    _write(shelf.space({"model": "m", "window": 1.0}), {"a": 1})
    for other in ({"model": "n", "window": 1.0}, {"model": "m", "window": 2.0}):
        assert "a" not in shelf.space(other)
    assert "a" in shelf.space({"window": 1.0, "model": "m"})


def test_shards_are_bounded_and_gathered_together(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 100)
    space = EmbeddingStore(tmp_path).space({})
    rows = _write(space, {f"clip{i}": 1 + i % 3 for i in range(40)})
    assert len(list(space.directory.glob("*.npy"))) > 5
    names = list(rows)[::-1]
    np.testing.assert_array_equal(space.gather(names), np.vstack([rows[n] for n in names]))


def test_two_writers_of_one_space(tmp_path):
    one, two = (EmbeddingStore(tmp_path).space({}) for _ in range(2))
    _write(one, {"a": 1, "b": 1}, seed=0)
    rows = _write(two, {"b": 1, "c": 1}, seed=1)
    fresh = EmbeddingStore(tmp_path).space({})
    assert all(name in fresh for name in "abc")
    np.testing.assert_array_equal(fresh.gather(["c"]), rows["c"])
    one.refresh()
    assert "c" in one


def test_what_was_collected_before_an_error_is_kept(tmp_path):
    space = EmbeddingStore(tmp_path).space({})
    with pytest.raises(RuntimeError), space.writer(notes={}) as writer:
        writer.add("a", np.ones((1, 5), np.float32))
        raise RuntimeError("the encoder died")
    assert "a" in EmbeddingStore(tmp_path).space({})


@pytest.mark.parametrize(
    "damage",
    [
        *("cut data", "no data", "zeroed data", "one bit"),
        *("cut index", "odd index", "more rows", "another key", "leftover"),
    ],
)
def test_damaged_shards_are_as_if_never_written(tmp_path, damage):
    space = EmbeddingStore(tmp_path).space({})
    _write(space, {"a": 4})
    index = next(p for p in space.directory.glob("*.json") if p.name != "space.json")
    if damage == "cut data":
        os.truncate(index.with_suffix(".npy"), 50)
    elif damage == "no data":
        index.with_suffix(".npy").unlink()
    elif damage == "zeroed data":
        data = index.with_suffix(".npy")
        data.write_bytes(bytes(data.stat().st_size))
    elif damage == "one bit":
        data = index.with_suffix(".npy")
        content = bytearray(data.read_bytes())
        content[-1] ^= 1
        data.write_bytes(content)
    elif damage == "odd index":
        index.write_text(json.dumps({**json.loads(index.read_text()), "clips": [["a", 0]]}))
    elif damage == "more rows":
        index.write_text(json.dumps({**json.loads(index.read_text()), "clips": [["a", 0, 5]]}))
    elif damage == "another key":
        index.write_text(index.read_text().replace('"a"', '"c"'))
    elif damage == "cut index":
        index.write_text(index.read_text()[:20])
    else:
        index.rename(index.with_name(".tmp-" + index.name))
    damaged = EmbeddingStore(tmp_path).space({})
    assert "a" not in damaged and "c" not in damaged
    assert damaged.damaged == [index] * (damage != "leftover")
    assert [str(index) in sentence for sentence in damaged.news()] == [True] * len(damaged.damaged)
    assert damaged.news() == []


@pytest.mark.parametrize(
    "clips",
    [
        [["a", 0, 2], ["b", 2, 5]],
        [["a", 0, 2], ["b", 1, 4]],
        [["a", 1, 2], ["b", 2, 4]],
        [["a", 0, 0], ["b", 0, 4]],
        [["a", 0, 2], ["b", 4, 2]],
        [["a", 0, 2.0], ["b", 2.0, 4.0]],
        [["a", 0, 2], [7, 2, 4]],
        [],
    ],
)
def test_old_indexes_are_checked_against_the_data(tmp_path, clips):
    """They have no checksum of their own."""
    space = EmbeddingStore(tmp_path).space({})
    _write(space, {"a": 2, "b": 2})
    index = next(p for p in space.directory.glob("*.json") if p.name != "space.json")
    about = json.loads(index.read_text())
    del about["index_crc32"]
    index.write_text(json.dumps(about))
    assert "a" in EmbeddingStore(tmp_path).space({})
    index.write_text(json.dumps({**about, "clips": clips}))
    damaged = EmbeddingStore(tmp_path).space({})
    assert "a" not in damaged and damaged.damaged == [index]


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path):
    space = EmbeddingStore(tmp_path).space({})
    rows = _write(space, {"a": 2, "b": 2})
    index = next(p for p in space.directory.glob("*.json") if p.name != "space.json")
    for path in (index, index.with_suffix(".npy")):
        content = path.read_bytes()
        for position in range(len(content)):
            changed = bytearray(content)
            changed[position] ^= 1 << position % 8
            path.write_bytes(changed)
            read = EmbeddingStore(tmp_path).space({})
            for key in "ab":
                if key in read:
                    np.testing.assert_array_equal(read.gather([key]), rows[key])
        path.write_bytes(content)


def test_the_index_appears_after_the_data(tmp_path, monkeypatch):
    """A kill between the two leaves a space that does not know the clip."""
    space = EmbeddingStore(tmp_path).space({})
    replace, seen = os.replace, []

    def killed_before_the_index(source, target):
        seen.append(target.suffix)
        if target.suffix == ".json" and target.name != "space.json":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed_before_the_index)
    writer = store.ShardWriter(space.directory, space.description, {})
    writer.add("a", np.ones((1, 5), np.float32))
    with pytest.raises(KeyboardInterrupt):
        writer.flush()
    monkeypatch.undo()
    assert seen == [".json", ".npy", ".json"]
    assert "a" not in EmbeddingStore(tmp_path).space({})


def test_a_full_disk_is_a_sentence(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    space = EmbeddingStore(tmp_path).space({})
    monkeypatch.setattr(store, "_write_rows", full)
    writer = store.ShardWriter(space.directory, space.description, {})
    writer.add("a", np.ones((1, 5), np.float32))
    with pytest.raises(EvaluationError, match="No space left"):
        writer.flush()
    assert not list(space.directory.glob("*.npy")) and not list(space.directory.glob(".tmp*"))


def test_shards_are_npy_files_of_all_rows(tmp_path):
    random = np.random.default_rng(0)
    rows = {f"{k:064x}": random.normal(size=(k + 1, 3)).astype(np.float32) for k in range(5)}
    space = EmbeddingStore(tmp_path).space({})
    with space.writer(notes={}) as writer:
        for key, part in rows.items():
            writer.add(key, part)
    (path,) = space.directory.glob("*.npy")
    np.testing.assert_array_equal(np.load(path), np.concatenate(list(rows.values())))
    # Any order, with repetitions and gaps: runs of neighbors and single ones.
    keys = [list(rows)[k] for k in (3, 4, 0, 1, 2, 4, 4, 1)]
    np.testing.assert_array_equal(space.gather(keys), np.concatenate([rows[k] for k in keys]))


def test_space_file_says_what_it_depends_on(tmp_path):
    space = EmbeddingStore(tmp_path).space({"model": "m"})
    _write(space, {"a": 1})
    assert json.loads((space.directory / "space.json").read_text())["depends_on"] == {"model": "m"}


def test_digests_follow_content_size_and_time(tmp_path):
    file, cache = tmp_path / "a.wav", DigestCache(tmp_path / "d.sqlite")
    file.write_bytes(b"one")
    first = cache.digest(file)
    assert first == cache.digest(file) == DigestCache(tmp_path / "d.sqlite").digest(file)
    file.write_bytes(b"two!")
    assert cache.digest(file) != first
    # Same size and time: trusted, unless asked to verify.
    assert DigestCache(tmp_path / "d.sqlite", verify=True).digest(file) == cache.digest(file)


def test_the_end_of_the_block_closes_the_digest_cache(tmp_path):
    """Afterwards it computes digests; before, it returns what the database holds."""
    file, database = tmp_path / "a.wav", tmp_path / "d.sqlite"
    file.write_bytes(b"one")
    with DigestCache(database) as cache:
        computed = cache.digest(file)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE digests SET digest = 'stored'")
    with DigestCache(database) as cache:
        assert cache.digest(file) == "stored"
    assert cache.digest(file) == computed
    cache.close()  # a second time without effect


def test_files_that_changed_places_are_noticed(tmp_path):
    """Equal sizes and dates, as archives unpack them: the inode and the change time tell."""
    one, two, cache = tmp_path / "1.wav", tmp_path / "2.wav", DigestCache(tmp_path / "d.sqlite")
    for file, content in ((one, b"first"), (two, b"other")):
        file.write_bytes(content)
        os.utime(file, ns=(10**18, 10**18))
    before = cache.digests([one, two])
    one.rename(tmp_path / "x")
    two.rename(one)
    (tmp_path / "x").rename(two)
    assert cache.digests([one, two]) == before[::-1]


@pytest.mark.parametrize("damage", [b"no database at all" * 99, b"SQLite format 3\0" + b"x" * 5000])
def test_a_damaged_digest_cache_costs_time_only(tmp_path, damage):
    file = tmp_path / "a.wav"
    file.write_bytes(b"sound")
    expected = DigestCache(tmp_path / "good.sqlite").digest(file)
    (tmp_path / "bad.sqlite").write_bytes(damage)
    assert DigestCache(tmp_path / "bad.sqlite").digest(file) == expected


def test_a_digest_cache_that_cannot_be_written_costs_time_only(tmp_path):
    file = tmp_path / "a.wav"
    file.write_bytes(b"sound")
    (tmp_path / "folder.sqlite").mkdir()
    assert len(DigestCache(tmp_path / "folder.sqlite").digest(file)) == 64


def test_atomic_file_and_directory_leave_nothing_half(tmp_path):
    with pytest.raises(ValueError), atomic_file(tmp_path / "f") as path:
        path.write_text("half")
        raise ValueError
    with pytest.raises(ValueError), atomic_directory(tmp_path / "d") as path:
        (path / "half").touch()
        raise ValueError
    assert list(tmp_path.iterdir()) == []
    with atomic_directory(tmp_path / "d") as path:
        (path / "one").touch()
    with pytest.raises(FileExistsError), atomic_directory(tmp_path / "d"):
        pass
    with atomic_directory(tmp_path / "d", overwrite=True) as path:
        (path / "two").touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["d", "two"]
    (tmp_path / "link").symlink_to("d")
    with atomic_directory(tmp_path / "link", overwrite=True) as path:
        (path / "three").touch()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["d", "link", "three"]
    assert (tmp_path / "link").is_symlink() and (tmp_path / "link" / "three").exists()


class TestReplacedFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "old").touch()
        return tmp_path / "d"

    def _replace(self, folder):
        with atomic_directory(folder, overwrite=True) as path:
            (path / "new").touch()

    def test_another_process_may_be_faster(self, folder, monkeypatch):
        """It takes the name in the moment in which nothing has it; then none can be put back."""
        rename = os.rename

        def interrupted(source, target):
            rename(source, target)
            if source.name == "d":
                folder.mkdir()
                (folder / "theirs").touch()

        monkeypatch.setattr(os, "rename", interrupted)
        with pytest.raises(OSError):
            self._replace(folder)
        assert [path.name for path in folder.parent.rglob("*")] == ["d", "theirs"]

    @pytest.mark.parametrize("failures", [1, 2])
    def test_the_only_copy_survives_a_failing_disk(self, folder, monkeypatch, failures):
        rename, calls = os.rename, []

        def failing(source, target):
            calls.append(source)
            if 1 < len(calls) <= 1 + failures:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            rename(source, target)

        monkeypatch.setattr(os, "rename", failing)
        with pytest.raises(OSError) as caught:
            self._replace(folder)
        kept, old = sorted(folder.parent.rglob("*"))
        assert old == kept / "old"
        assert kept == folder or caught.value.strerror.endswith(f"the old folder is now {kept}")
