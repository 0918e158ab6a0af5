"""The frontend's precision rule: never less than float32."""

import keras


def full_precision_policy(dtype=None) -> keras.DTypePolicy:
    """The policy a layer uses that must not compute in half precision.

    Args:
        dtype: what a Keras layer accepts as `dtype`; None means the global policy.

    Returns:
        The float64 policy where `dtype` computes in float64, else the float32 policy: magnitudes
        span five decades, and half precision keeps two to three digits.
    """
    compute_dtype = keras.dtype_policies.get(dtype).compute_dtype
    return keras.DTypePolicy("float64" if compute_dtype == "float64" else "float32")
