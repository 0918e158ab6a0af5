"""Table 2, row "SF NFNet-F0" under classification: HARES 68.6 with AudioSet."""

from hares_tf.pretrain import defaults


def get_config():
    """The paper's settings, unchanged."""
    return defaults.classification()
