"""The mini suite: small synthetic versions of the twelve HARES tasks, generated in code.

They test the whole evaluation in a minute; their scores predict nothing about real recordings. The
files are written once into the cache folder, in the layout of the real data sets, and read by the
readers of the real tasks; windows, heads and metrics are those of the real tasks, too. Every
recording is a pure function of the suite's version and its path.

`scenes` describes how a broken evaluation changes the scores; `RANGES` are the expected scores of
`log_mel_statistics`.
"""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "RANGES": "ranges",
        "mini_suite": "suite",
        "mini_task_ids": "suite",
    },
)
