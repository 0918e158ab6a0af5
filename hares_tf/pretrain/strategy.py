"""The `tf.distribute` strategy of a run."""

import json
import os

from hares_tf.pretrain.errors import PretrainError

STRATEGIES = ("default", "mirrored", "multi_worker", "tpu")


def make_strategy(kind: str = "default", tpu: str | None = None):
    """The strategy that a run uses.

    Args:
        kind: "default" (one device), "mirrored" (all GPUs of this machine), "multi_worker" (all
            machines named in the environment variable TF_CONFIG) or "tpu".
        tpu: name or address of the TPU; default: the one this machine is attached to.

    Raises:
        PretrainError: there is no such strategy, or what it needs is not there.
    """
    import tensorflow as tf

    if kind == "default":
        return tf.distribute.get_strategy()
    if kind == "mirrored":
        return tf.distribute.MirroredStrategy()
    if kind == "multi_worker":
        try:
            workers = json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"]
        except (KeyError, ValueError, TypeError) as error:
            raise PretrainError(
                "--strategy=multi_worker needs the environment variable TF_CONFIG with the "
                'addresses of all workers and the number of this one: {"cluster": {"worker": '
                '["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}.'
            ) from error
        if not workers:
            raise PretrainError("TF_CONFIG names no worker.")
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except ValueError as error:
            raise PretrainError(f"TF_CONFIG is not usable: {error}") from error
    if kind == "tpu":
        return _tpu_strategy(tpu or "local")
    raise PretrainError(f"There is no strategy {kind!r}; choose one of {', '.join(STRATEGIES)}.")


def _tpu_strategy(tpu: str):
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
        if tpu != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        # The last line says what is wrong, the first ones where it came up.
        reason = (str(error).strip() or repr(error)).splitlines()[-1]
        raise PretrainError(
            f"--strategy=tpu found no usable TPU at {tpu!r} ({reason[:300]}). A TPU needs the "
            "package tensorflow-tpu in place of tensorflow: see docs/tpu.md."
        ) from error


def is_chief(strategy) -> bool:
    """Returns whether this process writes the files of a run: of several workers the first."""
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    resolver = strategy.cluster_resolver
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return resolver.task_type == first and resolver.task_id == 0


def hosts_of(strategy) -> int:
    """Returns the number of machines that feed the replicas, each with clips of its own."""
    import tensorflow as tf

    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return sum(map(len, strategy.cluster_resolver.cluster_spec().as_dict().values()))
    return getattr(strategy.extended, "num_hosts", 1)  # of a TPU


def check_agreement(strategy, **values: int) -> None:
    """Makes sure that all workers begin alike; alone there is nothing to compare.

    Args:
        strategy: the strategy.
        **values: what must be the same everywhere, below 2^63.

    Raises:
        PretrainError: it is not.
    """
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    own = tf.constant([[*values.values()]], tf.int64)
    everywhere = strategy.gather(strategy.run(lambda: tf.identity(own)), axis=0).numpy()
    for name, column in zip(values, everywhere.T, strict=True):
        if len({*column.tolist()}) > 1:
            raise PretrainError(
                f"The workers do not begin with the same {name}; all must be given the same "
                "configuration and clips, and reach the same --workdir."
            )
