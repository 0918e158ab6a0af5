"""The embedding phase on several processes or machines, into the same store.

The missing clips are cut into shards. A worker opens the encoder once, embeds its shards with the
function that a single process uses, and writes to the store itself: only the reasons why clips
could not be read are returned. Workers are processes of this machine, or those of an Apache Beam
runner. Workers may be killed at any time; the next run embeds what is missing.
"""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"embed": "phase"})
