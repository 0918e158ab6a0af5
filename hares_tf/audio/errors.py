"""The one exception of hares_tf.audio."""

from hares_tf.utils.errors import HaresError


class AudioError(HaresError):
    """A sound file, a waveform or a frontend setting that cannot be used, and why."""
