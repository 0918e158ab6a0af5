"""The embedding phase on several processes: same store content, and every way to end."""

import importlib.util
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation.embeddings import distributed
from hares_tf.evaluation.embeddings.distributed import phase, shards
from hares_tf.evaluation.embeddings.embedding import Item, embed_items
from hares_tf.evaluation.embeddings.selection import select
from hares_tf.evaluation.embeddings.store import EmbeddingStore
from hares_tf.evaluation.embeddings.windows import Plan
from hares_tf.evaluation.encoders.handle import open_encoder
from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import Clip, Manifest, Task
from hares_tf.evaluation.tasks.declaration import Windows as TaskWindows
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.evaluation.tasks.preparing import PreparedTask
from hares_tf.hub import loader
from hares_tf.jobs import Runner
from hares_tf.recordings.archives import MemberSound
from hares_tf.recordings.sound import FileSound, Stretch
from hares_tf.recordings.tfds_records import TfdsSound

RATE = 8000
PLAN = Plan("tiles", 0.05)
# Elementwise and row by row: independent of the rest of a batch, to the last bit.
ENCODER = """
import os, pathlib, signal, time
import numpy as np

HERE = pathlib.Path(__file__).parent

def encode(batch):
    if (HERE / "note_pid").exists():
        (HERE / "pids" / str(os.getpid())).write_text(os.environ["TF_NUM_INTRAOP_THREADS"])
    if (HERE / "slow").exists() and batch.any():
        time.sleep(60)
    if (HERE / "kill_at_marker").exists() and (batch[:, 0] > 0.9).any():
        os.kill(os.getpid(), signal.SIGKILL)
    return np.stack([batch[:, 0], batch[:, -1] * 2, np.abs(batch).max(axis=1)], axis=1)

encode.sample_rate = 8000
encode.fingerprint = "1"

def forgetful(batch):
    return batch[:, :2]

forgetful.sample_rate = 8000

def broken(batch):
    return np.full((len(batch), 2), np.nan if batch.any() else 0.0)

broken.sample_rate, broken.fingerprint = 8000, "1"
"""
HANDLE = "python:encoder_for_workers:encode"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """150 clips of 30 to 129 ms; one of them is no sound, and the last one begins with a marker."""
    recordings = tmp_path_factory.mktemp("recordings")
    random = np.random.default_rng(0)
    for index in range(150):
        samples = random.uniform(-0.5, 0.5, 240 + 799 * index % 793)
        if index == 149:
            samples[0] = 0.95
        soundfile.write(recordings / f"{index}.wav", samples, RATE, "PCM_16")
    (recordings / "77.wav").write_bytes(b"no sound at all")
    return recordings


@pytest.fixture
def folder(tmp_path, recordings, monkeypatch):
    """Holds the recordings, the encoder's module and, if a test wants, files that steer it."""
    (tmp_path / "recordings").symlink_to(recordings)
    (tmp_path / "encoder_for_workers.py").write_text(ENCODER)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("encoder_for_workers", None)


@dataclass
class _Evaluation:
    """What the phase uses of a `TaskEvaluation`."""

    prepared: PreparedTask
    module: loader.LocatedModule
    store: Path
    plan: Plan = PLAN

    @property
    def task(self) -> Task:
        return self.prepared.task

    def space(self):
        description = {
            "model": self.module.content_hash(),
            "interface": Interface(sample_rate=RATE).as_data(),
            "windows": self.plan.as_data(),
        }
        return EmbeddingStore(self.store).space(description)

    @property
    def selections(self):
        return {"test": select(self.prepared, None, self.plan)}

    def missing(self):
        for selection in self.selections.values():
            space = self.space()
            yield self.plan, space, [i for i in selection.items if i.key not in space]

    def stored(self) -> dict[str, np.ndarray]:
        space = self.space()
        items = [item.key for item in self.selections["test"].items if item.key in space]
        return {key: space.gather([key]) for key in items}


def _evaluation(folder, handle=HANDLE, store="store", task="tones", n=150) -> _Evaluation:
    clips = tuple(
        Clip(f"clip {i}", FileSound(str(folder / f"recordings/{i}.wav")), "x", "test")
        for i in range(n)
    )
    manifest = Manifest(clips, Labels.classes(["x"]))
    declaration = Task(
        task, 1, "music", TaskWindows(PLAN.seconds), "linear", "accuracy", lambda _: manifest
    )
    prepared = PreparedTask(declaration, manifest, [f"digest{i}" for i in range(n)], "hash")
    return _Evaluation(prepared, loader.locate(handle), folder / store)


def _in_one_process(evaluation) -> dict[str, str]:
    encoder = open_encoder(evaluation.module, Interface(sample_rate=RATE))
    plan, space, items = next(evaluation.missing())
    with space.writer({"interface": encoder.interface}) as writer:
        return embed_items(items, plan, encoder, writer)


def _same(one: dict[str, np.ndarray], other: dict[str, np.ndarray], **tolerance) -> None:
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_allclose(one[key], other[key], **tolerance)


def test_two_processes_fill_the_store_as_one_does(folder, monkeypatch):
    """Also: failures come back by task and clip; work that tasks share is done once."""
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    alone = _evaluation(folder, store="alone")
    (reason,) = _in_one_process(alone).values()
    several = _evaluation(folder)
    part = _evaluation(folder, task="part", n=60)
    (folder / "note_pid").touch()
    (folder / "pids").mkdir()
    failures = distributed.embed(several.module, [several, part], Runner(workers=2))
    assert failures == {"tones": {"clip 77": reason}, "part": {}}
    threads = [path.read_text() for path in (folder / "pids").iterdir()]
    assert threads == [str(max(1, os.cpu_count() // 2))] * 2, "both took part, with their share"
    stored = several.stored()
    assert len(stored) == 149 and {len(rows) for rows in stored.values()} == {1, 2, 3}
    _same(stored, alone.stored(), rtol=0, atol=0)
    assert several.space().notes() == alone.space().notes()
    indexes = [p for p in several.space().directory.glob("*.json") if p.name != "space.json"]
    assert len(indexes) == 4, "150 clips in shards of 48, none twice"


def test_a_killed_worker_ends_the_run_with_a_sentence_and_the_next_completes(folder):
    evaluation = _evaluation(folder)
    (folder / "kill_at_marker").touch()
    with pytest.raises(EvaluationError, match=r"killed or crashed.*kept.*run the same command"):
        distributed.embed(evaluation.module, [evaluation], Runner(workers=2))
    kept = len(evaluation.stored())
    assert 47 <= kept < 149, "two shards were finished before the last one was begun"
    (folder / "kill_at_marker").unlink()
    failures = distributed.embed(evaluation.module, [evaluation], Runner(workers=1))
    assert list(failures["tones"]) == ["clip 77"] and len(evaluation.stored()) == 149


def test_nothing_missing_starts_no_process(folder, monkeypatch):
    evaluation = _evaluation(folder, n=60)
    assert _in_one_process(evaluation) == {}
    monkeypatch.setattr(phase, "embed_on_workers", None)
    assert distributed.embed(evaluation.module, [evaluation]) == {"tones": {}}


def test_what_the_encoder_does_wrong_is_said_by_the_parent(folder):
    evaluation = _evaluation(folder, "python:encoder_for_workers:broken")
    with pytest.raises(EvaluationError, match=r"NaN or infinite embeddings for .*\.wav"):
        distributed.embed(evaluation.module, [evaluation], Runner(workers=1))


@pytest.mark.parametrize(
    ("ending", "group"), [(signal.SIGKILL, False), (signal.SIGINT, True)], ids=["kill", "ctrl-c"]
)
def test_no_worker_outlives_its_parent(folder, ending, group):
    program = f"""
    import sys
    from pathlib import Path
    from hares_tf.evaluation.embeddings.distributed import shards, workers
    from hares_tf.evaluation.embeddings.embedding import Item
    from hares_tf.evaluation.encoders.interface import Interface
    from hares_tf.recordings.sound import FileSound
    from hares_tf.evaluation.embeddings.windows import Plan
    from hares_tf.hub import loader
    from hares_tf.jobs import Runner

    if __name__ == "__main__":
        here = Path({str(folder)!r})
        description = {{
            "model": loader.locate({HANDLE!r}).content_hash(),
            "interface": Interface(sample_rate={RATE}).as_data(),
        }}
        target = shards.Target({HANDLE!r}, Plan("tiles", 0.05), here / "space", description)
        items = [Item(str(i), FileSound(str(here / f"recordings/{{i}}.wav"))) for i in range(60)]
        workers.embed_on_workers([(target, items)], print, Runner(workers=2))
    """
    (folder / "main.py").write_text(textwrap.dedent(program))
    for name in ("slow", "note_pid"):
        (folder / name).touch()
    (folder / "pids").mkdir()
    parent = subprocess.Popen(
        [sys.executable, "main.py"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background has Ctrl-C ignored, and programs inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.getcwd()])},
    )
    try:
        _until(lambda: len(list((folder / "pids").iterdir())) == 2, 90)
        pids = [int(path.name) for path in (folder / "pids").iterdir()]
        assert all(map(_runs, pids))
        (os.killpg if group else os.kill)(parent.pid, ending)
        _until(lambda: not any(map(_runs, pids)), 15)
        errors = parent.communicate(timeout=60)[1]
    finally:
        parent.kill()
    assert parent.returncode == -ending
    # After Ctrl-C only the parent speaks (in the command: one sentence).
    assert errors.count("KeyboardInterrupt") == group and errors.count("Traceback") <= group


def _until(condition, seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return not re.match(r"\d+ \(.*\) Z", stat)


def test_a_tensorflow_module_gives_the_same_up_to_rounding(folder):
    tf = pytest.importorskip("tensorflow")

    class Module(tf.Module):
        def __init__(self):
            weights = np.random.default_rng(1).normal(size=(400, 16)) / 20
            self.weights = tf.Variable(weights.astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None, 400])])
        def __call__(self, waveform):
            return tf.tanh(waveform @ self.weights)

    tf.saved_model.save(Module(), str(folder / "module"))
    alone = _evaluation(folder, folder / "module", "alone")
    several = _evaluation(folder, folder / "module")
    _in_one_process(alone)
    distributed.embed(several.module, [several], Runner(workers=1))
    # The place in the batch, and threads, may decide in which order products are summed up.
    _same(several.stored(), alone.stored(), rtol=1e-5, atol=1e-6)


def test_another_model_under_the_same_handle_is_refused(folder):
    target = shards.Target(
        HANDLE,
        PLAN,
        folder / "space",
        {"model": "what it was before", "interface": Interface(sample_rate=RATE).as_data()},
    )
    with pytest.raises(EvaluationError, match=f"another model at {HANDLE}"):
        shards.run_shard(shards.Shard(0, target, (Item("a", FileSound("a.wav")),)))
    assert not (folder / "space").exists()


def test_a_function_without_fingerprint_is_refused(folder):
    evaluation = _evaluation(folder, "python:encoder_for_workers:forgetful")
    with pytest.raises(EvaluationError, match="`fingerprint`"):
        distributed.embed(evaluation.module, [evaluation])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "at least 1"),
        ({"beam_options": ("--x=1",)}, "add --runner"),
        ({"name": "DirectRunner", "workers": 2}, "--runner=local"),
    ],
)
def test_choices_that_contradict_each_other(folder, options, message):
    evaluation = _evaluation(folder)
    with pytest.raises(EvaluationError, match=message):
        distributed.embed(evaluation.module, [evaluation], Runner(**options))


def test_without_beam_a_sentence_says_what_to_install(folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    evaluation = _evaluation(folder)
    with pytest.raises(EvaluationError, match=r"pip install hares-tf\[beam\]"):
        distributed.embed(evaluation.module, [evaluation], Runner("DirectRunner"))


def test_shards_hold_every_item_once_and_are_bounded():
    items = [Item(str(i), FileSound(f"/{i}.wav")) for i in range(1000)]
    jobs = [(_target("a"), items[:300]), (_target("b"), items[300:])]
    found = list(shards.cut(jobs, 128))
    assert [shard.number for shard in found] == list(range(len(found)))
    assert [item for shard in found for item in shard.items] == items
    assert [len(shard.items) for shard in found] == [128, 128, 44, 128, 128, 128, 128, 128, 60]
    assert [shard.target.handle for shard in found] == ["a"] * 3 + ["b"] * 6


@pytest.mark.parametrize(
    ("items", "workers", "size"), [(10, 2, 48), (800, 2, 100), (10**6, 2, 128), (1600, 8, 50)]
)
def test_shard_size(items, workers, size):
    assert shards.shard_size(items, workers) == size


def test_workers_find_local_modules_from_anywhere(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for given in ("m", "./m", f"file://{folder}/m"):
        module = loader.LocatedModule(given, "saved_model", folder / "m", "m")
        assert shards.handle_for_workers(module) == str(folder / "m")
    address = "https://tfhub.dev/google/yamnet/1"
    module = loader.LocatedModule(address, "saved_model", folder / "m", "m")
    assert shards.handle_for_workers(module) == address


def _target(handle: str) -> shards.Target:
    return shards.Target(handle, PLAN, Path("/store/space"), {"model": "m", "interface": {}})


def _shard_of_every_kind_of_sound() -> shards.Shard:
    kinds = (
        FileSound("/a.wav"),
        MemberSound("/a.zip", "b.wav", 3, 4),
        Stretch(TfdsSound("/c", -1, 5, 6, True, RATE), 0.5, 1.5),
    )
    return shards.Shard(3, _target("h"), (Item("key", kinds[0], kinds[1:], (0.25, 0.75)),))


def test_shards_survive_the_way_to_another_process():
    shard = _shard_of_every_kind_of_sound()
    assert pickle.loads(pickle.dumps(shard)) == shard


NO_BEAM = "Apache Beam is not installed (pip install hares-tf[beam])"


class TestBeam:
    @pytest.mark.parametrize(
        "options",
        [(), ("--direct_running_mode=multi_processing", "--direct_num_workers=2")],
        ids=["in this process", "in two processes"],
    )
    def test_a_pipeline_fills_the_store_as_one_process_does(self, folder, options, monkeypatch):
        pytest.importorskip("apache_beam", reason=NO_BEAM)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.getcwd()]))
        alone, other = _evaluation(folder, store="alone"), _evaluation(folder)
        (reason,) = _in_one_process(alone).values()
        failures = distributed.embed(
            other.module, [other], Runner("FnApiRunner", beam_options=options)
        )
        assert failures == {"tones": {"clip 77": reason}}
        _same(other.stored(), alone.stored(), rtol=0, atol=0)
        assert not list((folder / "store" / "scratch").iterdir())

    def test_what_the_encoder_does_wrong_is_one_sentence(self, folder):
        pytest.importorskip("apache_beam", reason=NO_BEAM)
        evaluation = _evaluation(folder, "python:encoder_for_workers:broken")
        with pytest.raises(EvaluationError, match=r"^The encoder returned NaN .*\.wav\.$"):
            distributed.embed(evaluation.module, [evaluation], Runner("FnApiRunner"))

    @pytest.mark.parametrize(
        ("runner", "options", "message"),
        [
            ("NoRunner", (), "accept --runner=NoRunner: .*DirectRunner"),
            ("FnApiRunner", ("--direct_num_workers=x",), "not understand --direct_num_workers=x"),
        ],
    )
    def test_what_beam_does_not_accept(self, folder, runner, options, message):
        pytest.importorskip("apache_beam", reason=NO_BEAM)
        evaluation = _evaluation(folder)
        with pytest.raises(EvaluationError, match=message):
            distributed.embed(evaluation.module, [evaluation], Runner(runner, beam_options=options))

    def test_a_store_that_workers_do_not_reach(self, folder, monkeypatch):
        pytest.importorskip("apache_beam", reason=NO_BEAM)
        from hares_tf.jobs import beam_pipeline

        monkeypatch.setattr(beam_pipeline, "_run_pipeline", lambda *_: None)
        evaluation = _evaluation(folder)
        with pytest.raises(EvaluationError, match="2 of 2 shards left no outcome"):
            distributed.embed(evaluation.module, [evaluation], Runner("FnApiRunner"))
