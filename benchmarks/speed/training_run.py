"""Whole pretraining runs with the settings of the demonstration.

Does training wait for its input? The loop with the reader, over the loop with one batch that is
there already. And does memory stay what it is, with everything that a run writes down?
"""

import tempfile
from pathlib import Path

import numpy as np
import soundfile
from timing import interleaved, median_ratio, verdict
from training_step import anonymous_bytes

CLIPS, SECONDS, RATE = 240, 1.0, 16_000
STEPS_PER_CALL = 10
# More than what waits in the buffers of a pipeline.
BATCHES_ALONE = 200
RUN_STEPS, LOOK_EVERY = 160, 40


def prepare_clips(folder: Path) -> Path:
    """Noise in files, as hares-prepare leaves it."""
    from hares_tf.data.prepare import prepare
    from hares_tf.jobs import Runner

    random = np.random.default_rng(0)
    (folder / "audio").mkdir()
    for number in range(CLIPS):
        noise = random.uniform(-0.5, 0.5, round(SECONDS * RATE))
        soundfile.write(folder / "audio" / f"{number}.wav", noise, RATE)
    prepare(folder / "audio", folder / "clips", runner=Runner(workers=1))
    return folder / "clips"


def waiting_for_input(clips_folder: Path) -> None:
    """Time of steps that read, over that of steps that have their batch."""
    import tensorflow as tf

    from hares_tf.data import open_clips
    from hares_tf.pretrain import load_config
    from hares_tf.pretrain.learner import create_learner
    from hares_tf.pretrain.loop import Loop, make_iterator

    config = load_config("demo")
    strategy = tf.distribute.get_strategy()
    learner = create_learner(config, 0)
    reading = make_iterator(strategy, config, open_clips(clips_folder), learner, 0)
    batch = next(reading)
    ready = iter(
        tf.data.Dataset.from_tensors(batch)
        .repeat()
        .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    )
    loops = {name: Loop(strategy, learner, config) for name in ("reading", "ready")}
    iterators = {"reading": reading, "ready": ready}
    functions = {
        name: lambda name=name: loops[name].run(iterators[name], 0, STEPS_PER_CALL)
        for name in loops
    }

    def alone():
        for _ in range(BATCHES_ALONE):
            next(reading)

    functions["alone"] = alone
    for function in functions.values():
        function()  # traces
    seconds = interleaved(functions, rounds=7)
    milliseconds = 1e3 * np.median(seconds["reading"]) / STEPS_PER_CALL
    # Both on all cores: a step could not be kept waiting by an input that is this much faster.
    verdict(
        "a batch of the demo from the pipeline alone, over a step whose batch is there",
        median_ratio(seconds["alone"], seconds["ready"]) * STEPS_PER_CALL / BATCHES_ALONE,
        0.5,
        "",
        at_most=True,
    )
    verdict(
        f"a step of the demo with its input ({milliseconds:.0f} ms) over one whose batch is there",
        median_ratio(seconds["reading"], seconds["ready"]),
        1.1,
        "",
        at_most=True,
    )


class MemoryProbe:
    """Looks at the memory of this process where a probe would score the encoder."""

    def __init__(self):
        self.bytes = []

    def run(self, model, step):
        self.bytes.append(anonymous_bytes())
        return {"mean": 0.0}


def memory_of_a_run(clips_folder: Path, workdir: Path) -> None:
    """Steps, metrics, TensorBoard, checkpoints: memory at the end over that at the first look."""
    from hares_tf.pretrain import load_config, pretrain

    config = load_config("demo", [f"steps={RUN_STEPS}", f"checkpoint_every={LOOK_EVERY // 4}"])
    config.probe.every = LOOK_EVERY
    probe = MemoryProbe()
    pretrain(config, clips_folder, workdir, probe=probe)
    first, last = probe.bytes[0], probe.bytes[-1]
    verdict(
        f"memory at the end of {RUN_STEPS} steps with {4 * RUN_STEPS // LOOK_EVERY} checkpoints "
        f"({last / 2**20:.0f} MiB) over that after {LOOK_EVERY}",
        last / first,
        1.05,
        "",
        at_most=True,
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        clips = prepare_clips(Path(scratch))
        waiting_for_input(clips)
        memory_of_a_run(clips, Path(scratch) / "run")


if __name__ == "__main__":
    main()
