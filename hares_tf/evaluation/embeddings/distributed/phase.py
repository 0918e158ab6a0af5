"""The embedding phase of several tasks on workers."""

import os
from collections.abc import Sequence
from pathlib import Path

from hares_tf.evaluation.embeddings.distributed.shards import Shard, Target, handle_for_workers
from hares_tf.evaluation.embeddings.distributed.workers import embed_on_workers
from hares_tf.evaluation.embeddings.embedding import Item
from hares_tf.evaluation.embeddings.selection import Selection
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.hub import loader
from hares_tf.jobs import Runner
from hares_tf.jobs.errors import JobError
from hares_tf.utils.progress import Progress


def embed(
    module: loader.LocatedModule,
    evaluations: Sequence,
    runner: Runner = Runner(),
    progress: Progress | None = None,
) -> dict[str, dict[str, str]]:
    """Embeds the missing clips of several tasks of one model, on several processes or machines.

    The store then holds the embeddings that a single process would have written. A clip may be in
    another batch than there, so that its embedding is equal as far as the encoder depends neither
    on the rest of the batch nor on the number of threads: exactly for most functions of NumPy, to
    the last bits of float32 for TensorFlow's matrix products.

    Args:
        module: the model.
        evaluations: `TaskEvaluation`s of it.
        runner: the processes or machines. Workers of a Beam runner must reach module, audio and
            store under the paths that they have on this machine. The default number of local
            processes is one for every four cores, but at least two.
        progress: reports the progress.

    Returns:
        Why clips could not be read, by task and clip id; a task without failures has {}.

    Raises:
        EvaluationError, HubError: a mistake that the user can correct; what was embedded is kept.
    """
    try:
        runner.check()
    except JobError as error:
        raise EvaluationError(str(error)) from error
    jobs, users = _missing(module, evaluations)
    total = sum(len(items) for _, items in jobs)
    failed: dict[Path, dict[str, str]] = {}
    if total:
        names = [evaluation.task.id for evaluation in evaluations]
        name = names[0] if len(names) == 1 else f"{len(names)} tasks"
        with (progress or Progress()).phase(name, "embedding", total, "clip") as bar:

            def on_done(shard: Shard, failures: dict[str, str]) -> None:
                failed.setdefault(shard.target.directory, {}).update(failures)
                bar.update(len(shard.items))

            embed_on_workers(jobs, on_done, runner)
    failures: dict[str, dict[str, str]] = {task.task.id: {} for task in evaluations}
    for task, directory, selection in users:
        failures[task] |= selection.by_clip(failed.get(directory, {}))
    return failures


def _missing(
    module: loader.LocatedModule, evaluations: Sequence
) -> tuple[list[tuple[Target, list[Item]]], list[tuple[str, Path, Selection]]]:
    """Returns the missing items by target, and the users of each target: task and selection.

    Items that several tasks miss are embedded once.
    """
    handle = handle_for_workers(module)
    jobs: dict[Path, tuple[Target, dict[str, Item]]] = {}
    users = []
    for evaluation in evaluations:
        for plan, space, items in evaluation.missing():
            if space.description["model"] is None:
                raise EvaluationError(
                    f"{module.handle} has no attribute `fingerprint`, so its embeddings cannot be "
                    "kept in the store; give it one, a text that changes whenever its output does."
                )
            directory = Path(os.path.abspath(space.directory))
            target = Target(handle, plan, directory, space.description)
            _, of_target = jobs.setdefault(directory, (target, {}))
            of_target.update((item.key, item) for item in items)
            users += [
                (evaluation.task.id, directory, selection)
                for selection in evaluation.selections.values()
                if selection.plan == plan
            ]
    return [(target, [*items.values()]) for target, items in jobs.values() if items], users
