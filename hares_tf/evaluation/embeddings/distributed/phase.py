"""The embedding phase of several tasks, handed out to workers."""

import os
from collections.abc import Sequence
from pathlib import Path

from hares_tf.evaluation.embeddings.distributed.shards import Shard, Target, handle_for_workers
from hares_tf.evaluation.embeddings.distributed.workers import embed_on_workers
from hares_tf.evaluation.embeddings.embedding import Item
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.preparing import Selection
from hares_tf.hub import loader
from hares_tf.jobs.errors import JobError
from hares_tf.jobs.runner import LOCAL, Runner
from hares_tf.utils.progress import Progress


def embed(
    module: loader.LocatedModule,
    evaluations: Sequence,
    *,
    runner: str = LOCAL,
    workers: int | None = None,
    beam_options: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, dict[str, str]]:
    """Embeds what is missing for several tasks of one model, on several processes or machines.

    The store then holds what a single process would have put there. An item may stand in another
    batch than there, so its numbers agree as far as those of the encoder do not depend on the rest
    of a batch and on the number of threads: exactly for most functions of NumPy, to the last bits
    of float32 for TensorFlow's matrix products.

    Args:
        module: the model.
        evaluations: `TaskEvaluation`s of it.
        runner: "local", processes of this machine; else the name of an Apache Beam runner. Its
            workers must reach module, audio and store under the paths that they have here.
        workers: processes of the local pool; default: one for every four cores, at least two.
        beam_options: further options of the pipeline, each "--key=value".
        progress: takes the progress.

    Returns:
        Why clips could not be read, by task and clip id; a task without failures has {}.

    Raises:
        EvaluationError, HubError: something the user can fix; what was embedded is kept.
    """
    try:
        Runner(runner, workers, tuple(beam_options)).check()
    except JobError as error:
        raise EvaluationError(str(error)) from error
    jobs, wanted = _missing(module, evaluations)
    total = sum(len(items) for _, items in jobs)
    failed: dict[Path, dict[str, str]] = {}
    if total:
        names = [one.task.id for one in evaluations]
        name = names[0] if len(names) == 1 else f"{len(names)} tasks"
        with (progress or Progress()).phase(name, "embedding", total, "clip") as bar:

            def on_done(shard: Shard, failures: dict[str, str]) -> None:
                failed.setdefault(shard.target.directory, {}).update(failures)
                bar.update(len(shard.items))

            embed_on_workers(
                jobs, on_done, runner=runner, workers=workers, beam_options=beam_options
            )
    return _by_clip(evaluations, wanted, failed)


def _missing(
    module: loader.LocatedModule, evaluations: Sequence
) -> tuple[list[tuple[Target, list[Item]]], list[tuple[str, Path, Selection]]]:
    """What to embed, by target, and which selections of which task want it.

    What several tasks miss is embedded once.
    """
    handle = handle_for_workers(module)
    jobs: dict[Path, tuple[Target, dict[str, Item]]] = {}
    wanted = []
    for evaluation in evaluations:
        selections = evaluation.selections()
        for plan, space, items in evaluation.missing(selections):
            if space.description["model"] is None:
                raise EvaluationError(
                    f"{module.handle} has no attribute `fingerprint` (a text that changes with "
                    "what it computes), so nothing of it can be kept in the store; give it one"
                )
            directory = Path(os.path.abspath(space.directory))
            target = Target(handle, plan, directory, space.description)
            _, found = jobs.setdefault(directory, (target, {}))
            found.update((item.key, item) for item in items)
            wanted += [
                (evaluation.task.id, directory, selection)
                for selection in selections.values()
                if selection.plan == plan
            ]
    return [(target, [*items.values()]) for target, items in jobs.values() if items], wanted


def _by_clip(
    evaluations: Sequence,
    wanted: Sequence[tuple[str, Path, Selection]],
    failed: dict[Path, dict[str, str]],
) -> dict[str, dict[str, str]]:
    """Failures by task and clip id, from failures by space and key."""
    failures: dict[str, dict[str, str]] = {one.task.id: {} for one in evaluations}
    for task, directory, selection in wanted:
        if reasons := failed.get(directory):
            clips = selection.prepared.manifest.clips
            failures[task] |= {
                clips[i].id: reasons[item.key]
                for i, item in zip(selection.clips, selection.items, strict=True)
                if item.key in reasons
            }
    return failures
