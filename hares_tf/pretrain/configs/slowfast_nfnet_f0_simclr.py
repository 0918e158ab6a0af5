"""Tables 2 and 3, row "SF NFNet-F0" under SimCLR: HARES 74.6 with AudioSet."""

from hares_tf.pretrain import defaults


def get_config():
    """The paper's settings, unchanged."""
    return defaults.simclr()
