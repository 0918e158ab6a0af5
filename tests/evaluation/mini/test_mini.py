"""The synthetic suite: reproducible, in the layouts of the real data sets, and hard to fool."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from hares_tf.audio import load_audio
from hares_tf.evaluation import evaluate
from hares_tf.evaluation.mini import RANGES, environment, mini_suite, mini_task_ids, music, suite
from hares_tf.evaluation.mini import speech as speech_trees
from hares_tf.evaluation.mini.scenes import Bed, compose
from hares_tf.evaluation.mini.tree import encoded
from hares_tf.evaluation.protocols import Fast, base
from hares_tf.evaluation.suites import resolve
from hares_tf.evaluation.tasks import HARES, load_task
from hares_tf.evaluation.tasks.declaration import Places

TREES = (
    environment.audioset,
    environment.birdsong,
    environment.tut18,
    environment.esc50,
    speech_trees.speech_commands,
    speech_trees.fluent_speech_commands,
    speech_trees.voxforge,
    speech_trees.voxceleb1,
    music.nsynth,
    music.magnatagatune,
)


@pytest.fixture(scope="module")
def tasks():
    return {task.id: task for task in mini_suite()}


@pytest.fixture(scope="module")
def manifests(tasks):
    return {name: task.read(Places()) for name, task in tasks.items()}


# --- what it consists of --------------------------------------------------------------------------


def test_the_twelve_with_their_own_windows_heads_and_metrics(tasks):
    assert list(tasks) == list(mini_task_ids()) == [f"mini_{name}" for name in HARES]
    assert set(RANGES) == set(tasks)
    for name in HARES:
        real, mini = load_task(name), tasks[f"mini_{name}"]
        same = {"domain", "windows", "head", "metric", "schedule", "mixing"}
        assert {k: real.declaration()[k] for k in same} == {k: mini.declaration()[k] for k in same}
        assert mini.suite == "mini"


def test_every_expected_clip_is_read_wherever_a_user_keeps_data(tasks, tmp_path):
    for name, task in tasks.items():
        manifest = task.read(Places(data_dir=tmp_path, tfds_dir=tmp_path))
        assert manifest.part_sizes == dict(task.expected), name
        assert manifest.missing == ()
        assert len({clip.id for clip in manifest.clips}) == len(manifest.clips)


def test_every_label_that_is_scored_can_be_learned(manifests):
    for name, manifest in manifests.items():
        if manifest.folds:
            continue
        tags = manifest.labels.kind == "tags"
        seen = {"test": set(), "train": set()}
        for clip in manifest.clips:
            seen.get(clip.part, set()).update(clip.label if tags else [clip.label])
        assert len(seen["test"]) > 1 and seen["test"] <= seen["train"], name
        if tags:  # average precision exists for all
            assert seen["test"] == set(manifest.labels.names), name


def test_ids_need_neither_files_nor_heavy_libraries(tmp_path):
    code = (
        "import sys; from hares_tf.evaluation.mini import RANGES, mini_task_ids; mini_task_ids();"
        "assert not {'tensorflow', 'keras', 'sklearn', 'scipy'} & set(sys.modules)"
    )
    environment_variables = {"HARES_CACHE_DIR": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment_variables)
    assert not (tmp_path / "cache").exists()


def test_one_task_by_its_id():
    assert [task.id for task in resolve(["mini_esc50"])] == ["mini_esc50"]


# --- recordings -----------------------------------------------------------------------------------


def test_recordings_depend_on_their_path_alone():
    for tree in TREES:
        recordings = tree().recordings
        one, rate = recordings[0].waveform()
        again, _ = tree().recordings[0].waveform()
        np.testing.assert_array_equal(one, again)
        other = replace(recordings[0], path="elsewhere.wav").waveform()[0]
        length = min(len(one), len(other))
        assert np.abs(one[:length] - other[:length]).max() > 0.01
        assert np.isfinite(one).all() and 0.005 < one.std() < 0.4 and rate in (16000, 48000)


def test_paths_are_unique_and_stay_below_the_folder():
    paths = [recording.path for tree in TREES for recording in tree().recordings]
    assert len(paths) == len(set(paths)) > 600
    assert not any(path.startswith("/") or ".." in path for path in paths)


def test_the_kinds_of_files_that_real_data_sets_bring(manifests):
    sounds = {name: [clip.sound for clip in manifest.clips] for name, manifest in manifests.items()}
    info = soundfile.info(sounds["mini_tut18"][0].where)
    assert (info.samplerate, info.channels) == (48000, 2)
    assert all(sound.container.endswith(".tgz") for sound in sounds["mini_voxforge"])
    assert soundfile.info(sounds["mini_magnatagatune"][0].where).format == "MP3"
    words = [sound.where for sound in sounds["mini_speech_commands_v1"]]
    assert sum(where.endswith(".wav.wav") for where in words) == 4
    assert sum("_background_noise_" in where for where in words) == 6 * 3  # stretches of noise
    lengths = [soundfile.info(sound.where).duration for sound in sounds["mini_nsynth_pitch"]]
    assert set(lengths) == {4.0}
    partial = [soundfile.info(sound.where).duration % 3 for sound in sounds["mini_voxceleb1"]]
    assert min(partial) > 1, "the last window is cut short"
    short = [soundfile.info(sound.where).duration for sound in sounds["mini_esc50"]]
    assert min(short) == 0.5 and max(short) == 5.0


def test_the_mean_of_the_channels_is_free_of_the_decoy(tmp_path):
    (recording, *_) = environment.tut18().recordings
    (tmp_path / "stereo.wav").write_bytes(encoded(recording))
    wanted, _ = replace(recording, stereo_decoy=None).waveform()
    mean = load_audio(tmp_path / "stereo.wav", 16000)
    left = soundfile.read(tmp_path / "stereo.wav")[0][::3, 0]
    # What resampling cuts off, just below 8 kHz, is all that differs.
    assert np.corrcoef(wanted, mean)[0, 1] > 0.98
    assert np.corrcoef(wanted, left)[0, 1] < 0.7


def test_beds_of_different_patterns_have_the_same_mean_level():
    """Decibels of the bed in halves of windows: only their order tells the patterns apart."""

    def halves(pattern):
        bed = Bed(5000, 7000, pattern, 1.0)
        silence = lambda random, samples: np.full(samples, 1e-9)  # noqa: E731
        clip = compose(np.random.default_rng(0), 4.0, 1.0, [silence], [silence], [bed], (80, 80))
        spectrum = np.fft.rfft(clip.reshape(8, 8000) * np.hanning(8000), axis=1)
        power = np.mean(np.abs(spectrum[:, 2600:3400]) ** 2, axis=1)
        decibels = 10 * np.log10(power)
        return decibels - decibels.mean()

    assert np.abs(halves("steady")).max() < 2
    within, between = halves("within").reshape(4, 2), halves("between").reshape(4, 2)
    np.testing.assert_allclose(np.abs(within), 10, atol=2)
    np.testing.assert_allclose(np.abs(between), 10, atol=2)
    assert (np.sign(within[:, 0]) == -np.sign(within[:, 1])).all()
    assert (np.sign(between[:, 0]) == np.sign(between[:, 1])).all()
    assert (np.sign(between[:-1, 0]) == -np.sign(between[1:, 0])).all()


# --- files in the cache ---------------------------------------------------------------------------


@pytest.fixture
def small_suite(monkeypatch, tmp_path):
    """The machinery of the cache with two tables instead of all recordings."""
    written = []

    def write_suite(folder):
        written.append(folder)
        for name in ("a", "b"):
            (folder / name).mkdir()
            (folder / name / "table.csv").write_text(f"file of {name}")

    monkeypatch.setenv("HARES_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(suite, "write_suite", write_suite)
    return written


def test_the_suite_is_written_once(small_suite, tmp_path):
    for _ in range(3):
        assert len(mini_suite()) == 12
    assert len(small_suite) == 1
    (folder,) = tmp_path.glob("mini-*")
    assert json.loads((folder / "sizes.json").read_text()) == {"a/table.csv": 9, "b/table.csv": 9}


def _delete(folder):
    (folder / "a/table.csv").unlink()


def _cut(folder):
    (folder / "a/table.csv").write_text("file")


def _add(folder):
    (folder / "a/other.csv").write_text("a stranger")


def _lose_the_list(folder):
    (folder / "sizes.json").write_text("{")


@pytest.mark.parametrize("damage", [_delete, _cut, _add, _lose_the_list])
def test_a_damaged_suite_is_written_again(small_suite, tmp_path, damage):
    mini_suite()
    (folder,) = tmp_path.glob("mini-*")
    damage(folder)
    mini_suite()
    assert len(small_suite) == 2
    assert (folder / "a/table.csv").read_text() == "file of a"
    assert not (folder / "a/other.csv").exists()


def in_two_threads(function):
    problems = []

    def run():
        try:
            function()
        except BaseException as error:  # a failed thread must fail the test
            problems.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_who_comes_second_waits(small_suite, tmp_path, monkeypatch):
    write = suite.write_suite

    def slowly(folder):
        write(folder)
        time.sleep(0.5)

    monkeypatch.setattr(suite, "write_suite", slowly)
    in_two_threads(mini_suite)
    assert len(small_suite) == 1
    (folder,) = tmp_path.glob("mini-*")
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, f".{folder.name}.lock"}


def test_two_write_at_once_where_there_are_no_locks(small_suite, tmp_path, monkeypatch):
    write, both_write = suite.write_suite, threading.Barrier(2, timeout=20)

    def together(folder):
        write(folder)
        both_write.wait()

    monkeypatch.setattr(suite, "locked", lambda path: contextlib.nullcontext())
    monkeypatch.setattr(suite, "write_suite", together)
    in_two_threads(mini_suite)
    assert len(small_suite) == 2
    assert [path.name.startswith("mini-") for path in tmp_path.iterdir()] == [True]


# --- scores: what a broken evaluation does to them ------------------------------------------------


@pytest.fixture(scope="module")
def score(statistics_module, tmp_path_factory):
    """Scores of tasks under `fast`, by the whole pipeline; embeddings are shared."""
    store = tmp_path_factory.mktemp("store")

    def score(tasks):
        output = tmp_path_factory.mktemp("results")
        results = evaluate(statistics_module, tasks, output=output, store=store)
        assert all(result.complete for result in results)
        return {result.task_id: result.score for result in results}

    return score


def _inside(name: str, value: float) -> bool:
    low, high = RANGES[name]
    return low <= value <= high


def _starts(rows_per_clip):
    return np.cumsum(rows_per_clip) - rows_per_clip


def _maximum(logits, rows_per_clip):
    return np.maximum.reduceat(logits, _starts(rows_per_clip), axis=0)


def _first_window(logits, rows_per_clip):
    return logits[_starts(rows_per_clip)]


def _shuffled(task):
    def read(places):
        manifest = task.read(places)
        order = np.random.default_rng(0).permutation(len(manifest.clips))
        labels = [manifest.clips[index].label for index in order]
        clips = zip(manifest.clips, labels, strict=True)
        return replace(manifest, clips=tuple(replace(clip, label=label) for clip, label in clips))

    return replace(task, read=read)


def _longer(factor):
    def change(task):
        seconds = factor * task.windows.seconds
        return replace(task, windows=replace(task.windows, seconds=seconds))

    return change


def _maximum_of_embeddings(original):
    def run(self, task, train, test, work):
        pooled = _maximum(test.embeddings, test.rows_per_clip)
        ones = np.ones(len(test), np.int64)
        return original(
            self, task, train, replace(test, embeddings=pooled, rows_per_clip=ones), work
        )

    return run


# Sabotage -> (what it does to a task, what it patches, the tasks that must notice).
_ALL = tuple(RANGES)
_TILES = ("mini_voxforge", "mini_voxceleb1", "mini_nsynth_pitch", "mini_magnatagatune")
SABOTAGES = {
    "shuffled labels": (_shuffled, None, _ALL),
    "half windows": (
        _longer(0.5),
        None,
        tuple(name for name in _ALL if name not in ("mini_audioset", "mini_magnatagatune")),
    ),
    "double windows": (
        _longer(2.0),
        None,
        tuple(name for name in _ALL if name != "mini_speech_commands_v1"),
    ),
    "maximum of logits": (
        None,
        (base, "clip_scores", _maximum),
        ("mini_audioset", "mini_voxforge", "mini_nsynth_pitch", "mini_magnatagatune"),
    ),
    "maximum of embeddings": (
        None,
        (Fast, "run", _maximum_of_embeddings(Fast.run)),
        ("mini_audioset", "mini_birdsong", *_TILES),
    ),
    "first window": (
        None,
        (base, "clip_scores", _first_window),
        ("mini_audioset", "mini_birdsong", "mini_tut18", *_TILES),
    ),
}
# Quick ones, for every run of the tests.
_QUICK = ("mini_birdsong", "mini_voxforge", "mini_nsynth_pitch")


@pytest.mark.parametrize("names", [_QUICK, pytest.param(_ALL, marks=pytest.mark.slow)])
def test_scores_are_in_their_ranges(names, score, tasks):
    scores = score([tasks[name] for name in names])
    outside = {name: value for name, value in scores.items() if not _inside(name, value)}
    assert outside == {}


def _unnoticed(sabotage, only, score, tasks, monkeypatch):
    change, patch, noticing = SABOTAGES[sabotage]
    chosen = [tasks[name] for name in noticing if name in only]
    if patch:
        monkeypatch.setattr(*patch)
    scores = score([change(task) if change else task for task in chosen])
    assert scores
    return {name: value for name, value in scores.items() if _inside(name, value)}


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_sabotage_is_noticed(sabotage, score, tasks, monkeypatch):
    assert _unnoticed(sabotage, _QUICK, score, tasks, monkeypatch) == {}


@pytest.mark.slow
@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_sabotage_is_noticed_by_every_task_that_can(sabotage, score, tasks, monkeypatch):
    assert _unnoticed(sabotage, _ALL, score, tasks, monkeypatch) == {}


def test_every_task_notices_wrong_labels_and_wrong_windows():
    for name in RANGES:
        noticing = {sabotage for sabotage, (_, _, by) in SABOTAGES.items() if name in by}
        assert "shuffled labels" in noticing
        assert noticing & {"half windows", "double windows"}
