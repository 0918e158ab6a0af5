"""Universal audio representations in TensorFlow: encoders, TF-Hub modules, and the HARES benchmark.

Importing this package is cheap: TensorFlow is loaded by the subpackages that need it.
"""

from hares_tf.utils.errors import HaresError

__all__ = ["HaresError", "__version__"]
__version__ = "0.1.0"
