"""`hares-prepare` and interruptions, copies, workers of every kind, and the cache."""

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hares_tf.commands import prepare as command
from hares_tf.data import sidecar, workers
from hares_tf.data.errors import DataError
from hares_tf.data.folder_cache import prepared
from hares_tf.data.prepare import UNFINISHED, prepare
from hares_tf.data.shard_writer import Settings, write_shard
from hares_tf.jobs import Runner
from hares_tf.jobs.errors import JobError
from hares_tf.recordings import folder_source

RATE = 16_000
SHARDS = 6


@pytest.fixture(scope="module")
def audio(tmp_path_factory) -> Path:
    """24 recordings of 0.2 to 0.4 s, and one that is no sound."""
    audio = tmp_path_factory.mktemp("audio")
    random = np.random.default_rng(0)
    for index in range(24):
        (audio / f"{index % 3}").mkdir(exist_ok=True)
        samples = random.uniform(-0.5, 0.5, 3200 + 133 * index)
        soundfile.write(audio / f"{index % 3}/{index}.wav", samples, RATE, "PCM_16")
    (audio / "0/broken.wav").write_bytes(b"no sound at all")
    return audio


@pytest.fixture(scope="module")
def alone(audio, tmp_path_factory) -> Path:
    """What one process makes of them."""
    folder = tmp_path_factory.mktemp("alone") / "clips"
    prepare(audio, folder, shards=SHARDS, runner=Runner(workers=1))
    return folder


def contents(folder) -> dict[str, bytes]:
    """The files of a folder; its description without its name, which is the folder's."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    name = f'"name": "{folder.name}"'.encode()
    assert name in files["clips.json"]
    return {**files, "clips.json": files["clips.json"].replace(name, b"")}


def alive(pid: str) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
def test_two_workers_killed_and_resumed_give_what_one_process_gives(
    audio, alone, tmp_path, monkeypatch
):
    """No worker outlives the kill; finished shards are not touched again."""
    # Recordings of the same ids and files that never end, in all but the first two shards.
    program = f"""
    import dataclasses
    import time
    from pathlib import Path

    from hares_tf.data.plan import make_plan
    from hares_tf.data.prepare import prepare
    from hares_tf.data.shard_writer import Settings
    from hares_tf.jobs import Runner
    from hares_tf.recordings import folder_source
    from hares_tf.recordings.sound import FileSound

    class Endless(FileSound):
        def load(self, sample_rate):
            time.sleep(600)

    if __name__ == "__main__":
        source = folder_source({str(audio)!r})
        here = Path()
        jobs = make_plan(source, Settings(), {SHARDS}).jobs(here, here)
        quick = {{clip.id for job in jobs[:2] for clip in job.recordings}}
        clips = tuple(
            clip if clip.id in quick else
            dataclasses.replace(clip, sound=Endless(clip.sound.path))
            for clip in source.recordings
        )
        source = dataclasses.replace(source, recordings=clips)
        prepare(source, "clips", shards={SHARDS}, runner=Runner(workers=2))
    """
    (tmp_path / "main.py").write_text(textwrap.dedent(program))
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    folder = tmp_path / "clips"
    parts = [folder / UNFINISHED / f"{number}.json" for number in range(SHARDS)]
    child = subprocess.Popen([sys.executable, "main.py"], cwd=tmp_path, env=environment)
    try:
        until(lambda: (parts[0].exists() and parts[1].exists()) or child.poll() is not None)
        assert child.poll() is None
        tasks = Path(f"/proc/{child.pid}/task").iterdir()
        workers = {pid for task in tasks for pid in (task / "children").read_text().split()}
        assert len(workers) >= 2
        # While it runs, nobody else may write there.
        with pytest.raises(DataError, match="Another process is writing"):
            prepare(audio, folder, shards=SHARDS)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    until(lambda: not any(map(alive, workers)))
    assert not sidecar.finished(folder)
    shards = sorted(folder.glob("clips.tfrecord-*"))
    assert [shard.name[:20] for shard in shards] == [f"clips.tfrecord-0000{i}" for i in range(2)]
    before = [shard.stat().st_mtime_ns for shard in shards]
    (folder / ".tmp-of-a-killed-run").touch()
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    prepare(audio, folder, shards=SHARDS, runner=Runner(workers=2))
    assert [shard.stat().st_mtime_ns for shard in shards] == before
    assert contents(folder) == contents(alone)


def test_only_what_is_lost_is_done_again(audio, alone, tmp_path, monkeypatch):
    def fail(number):
        def write(job):
            if job.number == number:
                raise KeyboardInterrupt
            return write_shard(job)

        return write

    folder = tmp_path / "clips"
    for number in range(1, SHARDS):  # after every shard but the last
        monkeypatch.setattr(workers, "write_shard", fail(number))
        with pytest.raises(KeyboardInterrupt):
            prepare(audio, folder, shards=SHARDS, runner=Runner(workers=1))
        assert len(list(folder.glob("clips.tfrecord-*"))) == number
    shards = sorted(folder.glob("clips.tfrecord-*"))
    times = {shard: shard.stat().st_mtime_ns for shard in shards}
    shards[1].unlink()
    os.truncate(shards[2], 1000)
    (folder / UNFINISHED / "3.json").write_text('{"plan"')  # a disk that failed
    monkeypatch.setattr(workers, "write_shard", write_shard)
    prepare(audio, folder, shards=SHARDS, runner=Runner(workers=1))
    kept = [shard for shard, time_ns in times.items() if shard.stat().st_mtime_ns == time_ns]
    assert kept == [shards[0], shards[4]]
    assert contents(folder) == contents(alone)


def test_a_kill_between_the_description_and_the_end(audio, alone, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare(audio, tmp_path / "clips", shards=SHARDS, runner=Runner(workers=1))
    assert sidecar.finished(tmp_path / "clips") and (tmp_path / "clips" / UNFINISHED).is_dir()
    monkeypatch.setattr(workers, "write_shard", None)  # nothing is left to do
    prepare(audio, tmp_path / "clips", shards=SHARDS, runner=Runner(workers=1))
    assert contents(tmp_path / "clips") == contents(alone)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").iterdir()}
    prepare(audio, tmp_path / "clips", shards=SHARDS, runner=Runner(workers=1))
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_another_plan_is_refused_unless_it_may_overwrite(audio, alone, tmp_path):
    own = tmp_path / "audio"
    for path in audio.rglob("*.wav"):
        (own / path.relative_to(audio)).parent.mkdir(parents=True, exist_ok=True)
        (own / path.relative_to(audio)).write_bytes(path.read_bytes())
    folder = tmp_path / "clips"
    first = prepare(own, folder, shards=SHARDS, runner=Runner(workers=1))
    assert first["content_hash"] == sidecar.read(alone)["content_hash"]
    with pytest.raises(DataError, match=r"otherwise \(sample_rate: there 16000, asked 8000\)"):
        prepare(own, folder, shards=SHARDS, settings=Settings(sample_rate=8000))
    with pytest.raises(DataError, match=r"labels: there None, asked 'subfolder'.*--overwrite"):
        prepare(folder_source(own, "subfolder"), folder, shards=SHARDS)
    os.utime(own / "0/0.wav", (1, 1))
    with pytest.raises(DataError, match="recordings or labels have changed"):
        prepare(own, folder, shards=SHARDS)
    assert sidecar.read(folder) == first
    labeled = prepare(
        folder_source(own, "subfolder"), folder, shards=2, runner=Runner(workers=1), overwrite=True
    )
    assert labeled["label_names"] == ["0", "1", "2"] and sidecar.verify(folder) == labeled
    assert len(list(folder.glob("clips.tfrecord-*"))) == 2, "the old shards are gone"


def test_an_unfinished_other_plan_is_refused(audio, tmp_path, monkeypatch):
    def stop(job):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(workers, "write_shard", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(audio, tmp_path / "clips", shards=3, runner=Runner(workers=1))
    with pytest.raises(DataError, match="shards: there 3, asked 2"):
        prepare(audio, tmp_path / "clips", shards=2, runner=Runner(workers=1))
    with pytest.raises(DataError, match="run the same hares-prepare command again"):
        prepared(tmp_path / "clips")
    done = prepare(audio, tmp_path / "clips", shards=2, runner=Runner(workers=1), overwrite=True)
    assert len(done["shards"]) == 2


def _flip(folder):
    path = sorted(folder.glob("clips.tfrecord-*"))[2]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(folder):
    os.truncate(sorted(folder.glob("clips.tfrecord-*"))[3], 5000)


def _swap_offsets(folder):
    offsets = np.load(folder / "offsets.npy")
    np.save(folder / "offsets.npy", offsets[::-1])


def _drop_offsets(folder):
    (folder / "offsets.npy").unlink()


def _lie(folder):
    path = folder / "clips.json"
    path.write_text(path.read_text().replace('"n_clips": 24', '"n_clips": 25'))


@pytest.mark.parametrize(
    ("damage", "words", "noticed_at_once"),
    [
        (_flip, ["00002-of", "other content"], False),
        (_truncate, ["00003-of", "has 5000 bytes, not"], True),
        (_swap_offsets, ["offsets.npy does not say"], False),
        (_drop_offsets, ["offsets.npy cannot be read"], False),
        (_lie, ["counts 25 clips, its shards 24"], False),
    ],
)
def test_verify_finds_damage(alone, audio, tmp_path, capsys, damage, words, noticed_at_once):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in alone.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert command.main(["--verify", f"--output={folder}", "--progress=none"]) == 0
    assert "24 clips in 6 shards" in capsys.readouterr().out
    damage(folder)
    assert command.main(["--verify", f"--output={folder}", "--progress=none"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and all(word in captured.err for word in words)
    if noticed_at_once:
        with pytest.raises(DataError, match="has 5000 bytes"):
            prepare(audio, folder, shards=SHARDS)
        prepare(audio, folder, shards=SHARDS, runner=Runner(workers=1), overwrite=True)
        assert sidecar.verify(folder)["n_clips"] == 24


def test_a_disk_without_space_is_a_sentence_and_nothing_is_lost(audio, alone, tmp_path):
    folder = tmp_path / "clips"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # a shard needs twice as much
    try:
        with pytest.raises(DataError, match=r"no space left for|cannot be written \(.*large"):
            prepare(audio, folder, shards=SHARDS, runner=Runner(workers=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(folder.glob(".tmp-*")) and not list(folder.glob("clips.tfrecord-*"))
    prepare(audio, folder, shards=SHARDS, runner=Runner(workers=1))
    assert contents(folder) == contents(alone)


def test_a_folder_of_audio_is_prepared_once(audio, alone, tmp_path, monkeypatch, capsys):
    assert prepared(alone) == alone
    with pytest.raises(DataError, match="their own labels"):
        prepared(alone, labels="subfolder")
    cache = tmp_path / "cache"
    folder = prepared(audio, cache=cache, progress="bar")
    assert folder.parent == cache / "prepared" and sidecar.verify(folder)["n_clips"] == 24
    assert "preparing 25 recordings" in capsys.readouterr().err
    monkeypatch.setattr(workers, "write_shard", None)
    assert prepared(audio, cache=cache, progress="bar") == folder
    assert capsys.readouterr().err == ""
    monkeypatch.undo()
    labeled = prepared(audio, cache=cache, labels="subfolder")
    assert labeled != folder and sidecar.read(labeled)["label_counts"] == [8, 8, 8]
    (audio / "table.csv").write_text("file,label\n1/1.wav,x\n0/0.wav,y\n")
    listed = sidecar.read(prepared(audio, cache=cache, labels=audio / "table.csv"))
    assert listed["n_clips"] == 2 and listed["label_names"] == ["x", "y"]
    os.truncate(next(folder.glob("clips.tfrecord-*")), 10)  # a cache heals itself
    assert sidecar.verify(prepared(audio, cache=cache))["n_clips"] == 24
    monkeypatch.setenv("HARES_CACHE_DIR", str(tmp_path / "own"))
    assert prepared(audio).parent == tmp_path / "own/prepared"


@pytest.mark.parametrize("damaged", [False, True])
def test_a_process_that_is_not_alone_waits_for_the_cache(audio, tmp_path, monkeypatch, damaged):
    """Two trainers of one machine start together: the second finds what the first has made."""
    folder = prepared(audio, cache=tmp_path / "first")
    twin = tmp_path / "second/prepared" / folder.name
    if damaged:
        shutil.copytree(folder, twin)
        os.truncate(next(twin.glob("clips.tfrecord-*")), 10)
    (twin / UNFINISHED).mkdir(parents=True)
    waits, found = threading.Event(), []

    def say(self, message):
        if message.startswith("waiting for another process"):
            waits.set()

    monkeypatch.setattr("hares_tf.utils.progress.Progress.say", say)
    with open(twin / UNFINISHED / "lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(
            target=lambda: found.append(prepared(audio, cache=tmp_path / "second"))
        )
        second.start()
        assert waits.wait(timeout=60)
        for path in folder.iterdir():
            (twin / path.name).write_bytes(path.read_bytes())
        times = {path: path.stat().st_mtime_ns for path in twin.glob("clips.*")}
        assert second.is_alive() and not found
    second.join(timeout=30)
    assert found == [twin] and not (twin / UNFINISHED).exists()
    assert {path: path.stat().st_mtime_ns for path in twin.glob("clips.*")} == times


NO_BEAM = "Apache Beam is not installed (pip install hares-tf[beam])"


class TestBeam:
    @pytest.mark.parametrize(
        "options",
        [(), ("--direct_running_mode=multi_processing", "--direct_num_workers=2")],
        ids=["in this process", "in two processes"],
    )
    def test_a_pipeline_writes_the_same_bytes(self, audio, alone, tmp_path, options, monkeypatch):
        pytest.importorskip("apache_beam", reason=NO_BEAM)
        monkeypatch.setenv("PYTHONPATH", os.getcwd())
        prepare(
            audio,
            tmp_path / "clips",
            shards=SHARDS,
            runner=Runner("FnApiRunner", beam_options=options),
        )
        assert contents(tmp_path / "clips") == contents(alone)

    def test_what_beam_does_not_accept(self, audio, tmp_path):
        pytest.importorskip("apache_beam", reason=NO_BEAM)
        with pytest.raises(JobError, match="accept --runner=NoRunner"):
            prepare(audio, tmp_path / "clips", runner=Runner("NoRunner"))

    def test_a_mistake_of_a_worker_is_one_sentence_and_does_not_stay(
        self, audio, alone, tmp_path, monkeypatch
    ):
        pytest.importorskip("apache_beam", reason=NO_BEAM)

        def fail(job):
            raise DataError("there is no space left")

        with monkeypatch.context() as patch:
            patch.setattr(workers, "write_shard", fail)
            with pytest.raises(JobError, match=r"^there is no space left$"):
                prepare(audio, tmp_path / "clips", shards=SHARDS, runner=Runner("FnApiRunner"))
        prepare(audio, tmp_path / "clips", shards=SHARDS, runner=Runner("FnApiRunner"))
        assert contents(tmp_path / "clips") == contents(alone)


def test_without_beam_a_sentence_says_what_to_install(audio, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(JobError, match=r"pip install hares-tf\[beam\]"):
        prepare(audio, tmp_path / "clips", runner=Runner("DirectRunner"))
    with pytest.raises(JobError, match="--workers is for --runner=local"):
        prepare(audio, tmp_path / "clips", runner=Runner("DirectRunner", workers=2))


def test_what_others_keep_in_a_folder_stays(audio, tmp_path):
    """Also in a folder of a common name."""
    kept = tmp_path / "project" / "unfinished" / "song.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("la la")
    assert command.main([f"--audio={audio}", f"--output={tmp_path / 'project'}"]) == 2
    assert kept.read_text() == "la la"


def test_processes_that_start_together_all_get_their_clips(audio, tmp_path):
    """The first one ends, and removes its lock, while the others wait for it."""
    failures = []

    def run():
        try:
            prepared(audio, cache=tmp_path)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
