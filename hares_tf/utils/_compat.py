"""Private interfaces of Keras and TensorFlow that this package needs, each with the reason.

A new release of either library may change any of them: this file is the one place to mend. The
imports are inside the functions, so that importing this module loads neither library.
"""


def frozen_function(function):
    """Replaces the variables of a concrete function by constants, without lowering control flow.

    TensorFlow has no public way to freeze a function; OpenVINO reads only frozen graphs.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function, lower_control_flow=False)
