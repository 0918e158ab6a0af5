"""Private interfaces of Keras and TensorFlow that this package needs, each with the reason.

A new release of either library may change any of them: this file is the one place to mend. The
imports are inside the functions, so that importing this module loads neither library.
"""
