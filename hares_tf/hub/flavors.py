"""Flavors and precisions of exported modules."""

from hares_tf.hub.errors import HubError

#: Can be trained: raw kernels, standardized at every call.
REUSABLE = "reusable"
#: Inference only, faster: everything constant is computed before.
SERVING = "serving"
FLAVORS = (REUSABLE, SERVING)

FLOAT32 = "float32"
BFLOAT16 = "bfloat16"
PRECISIONS = (FLOAT32, BFLOAT16)


def check_flavor(flavor: str, precision: str) -> None:
    """Refuses what there is not.

    Raises:
        HubError: an unknown name, or a precision that only the serving flavor has.
    """
    if flavor not in FLAVORS:
        raise HubError(f"There is no flavor {flavor!r}; choose {' or '.join(FLAVORS)}.")
    if precision not in PRECISIONS:
        raise HubError(f"There is no precision {precision!r}; choose {' or '.join(PRECISIONS)}.")
    if flavor == REUSABLE and precision != FLOAT32:
        raise HubError(
            f"The reusable flavor is float32, which training needs; {precision} goes with "
            f"--flavor={SERVING}."
        )
