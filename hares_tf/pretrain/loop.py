"""Several training steps in one call, on every replica of the strategy."""

import functools

import tensorflow as tf

from hares_tf.data import Crops, batches
from hares_tf.pretrain.learner import Learner
from hares_tf.pretrain.step import training_step

#: Metrics of every step, besides those of the objective.
ALWAYS = ("loss", "gradient_norm")


def make_iterator(strategy, config, clips, learner: Learner, first_step: int):
    """Batches for the replicas, beginning with `first_step`; every worker reads its own blocks."""
    objective = learner.objective
    crops = Crops(
        views=objective.crops,
        seconds=config.crops.seconds,
        fraction=config.crops.fraction,
        sample_rate=learner.encoder.sample_rate,
        pad=config.crops.pad,
    )

    def make_dataset(context):
        dataset = batches(
            clips,
            crops,
            replica_batch=context.get_per_replica_batch_size(config.batch),
            seed=config.seed,
            first_step=first_step,
            replicas=strategy.num_replicas_in_sync // context.num_input_pipelines,
            host=context.input_pipeline_id,
            hosts=context.num_input_pipelines,
            labels=objective.needs_labels,
            block_clips=config.block_clips,
        )
        # Devices do not need clip numbers. A strategy gives up static shapes for a smaller last
        # batch, unless the data set is declared to be infinite.
        return dataset.map(lambda batch: {key: batch[key] for key in batch if key != "clip"}).apply(
            tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        )

    return iter(strategy.distribute_datasets_from_function(make_dataset))


class Loop:
    """Runs steps and hands back what they report.

    Args:
        strategy: the `tf.distribute` strategy.
        learner: what is trained, made under it.
        config: the resolved configuration.
    """

    def __init__(self, strategy, learner: Learner, config):
        self.names = (*ALWAYS, *learner.objective.metric_names)
        self._strategy = strategy
        self._classes = None
        if learner.objective.needs_labels:
            self._classes = learner.head.compute_output_shape((1, 1))[-1]
        self._batch = config.batch
        step = functools.partial(training_step, learner, seed=config.seed, chunk=config.chunk)
        # Not a function of its own otherwise: replicas of a MirroredStrategy could not meet in it.
        self._step = (
            tf.function(step, jit_compile=True, autograph=False) if config.jit_compile else step
        )
        self._run = tf.function(self._run_steps)

    def run(self, iterator, first: int, count: int, stop: bool = False) -> dict:
        """Steps `first` to `first + count - 1`.

        Args:
            iterator: of `make_iterator`.
            first: number of the first step.
            count: how many.
            stop: whether this worker has been asked to stop.

        Returns:
            "series": float32 `[count, len(names)]` metrics of every step; "stop": whether any
            worker has been asked to stop; "scores" and "labels" `[batch, classes]` of the last
            step, for classifiers.
        """
        series, stops, ranking = self._run(
            iterator, tf.constant(first), tf.constant(count), tf.constant(float(stop))
        )
        return {
            "series": series.numpy().reshape(count, len(self.names)),
            "stop": float(stops) > 0.0,
            **{name: value.numpy() for name, value in ranking.items()},
        }

    def _run_steps(self, iterator, first, count, stop):
        strategy = self._strategy
        series = tf.TensorArray(tf.float32, size=count, element_shape=[len(self.names)])
        ranking = {}
        if self._classes is not None:
            empty = tf.zeros([self._batch, self._classes])
            ranking = {"scores": empty, "labels": empty}
        stops = tf.zeros([])
        # The loop is all that AutoGraph has to convert; reading the network takes it seconds.
        replica_step = tf.autograph.experimental.do_not_convert(self._replica_step)
        for index in tf.range(count):
            metrics, new = strategy.run(replica_step, (next(iterator), first + index, stop))
            totals = {
                name: strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
                for name, value in metrics.items()
            }
            series = series.write(index, tf.stack([totals[name] for name in self.names]))
            stops = totals["stop"]
            # The same on all replicas.
            ranking = {name: strategy.experimental_local_results(new[name])[0] for name in ranking}
        return series.stack(), stops, ranking

    def _replica_step(self, batch, step, stop):
        metrics, ranking = self._step(batch=batch, step=step)
        # Computed on this replica: strategies do not sum what all replicas share, and with a mere
        # copy of it TensorFlow 2.21 loses the results of the whole loop.
        stop = stop * tf.cast(step >= 0, tf.float32)
        return {**metrics, "stop": stop}, ranking
