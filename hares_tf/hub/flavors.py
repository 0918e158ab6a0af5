"""What a module is made for."""

from hares_tf.hub.errors import HubError

#: Can be trained: raw kernels, standardised at every call.
REUSABLE = "reusable"
#: Inference only, faster: everything constant is computed before.
SERVING = "serving"
FLAVOURS = (REUSABLE, SERVING)

FLOAT32 = "float32"
BFLOAT16 = "bfloat16"
PRECISIONS = (FLOAT32, BFLOAT16)


def check_flavour(flavour: str, precision: str) -> None:
    """Refuses what there is not.

    Raises:
        HubError: an unknown name, or a precision that only the serving flavour has.
    """
    if flavour not in FLAVOURS:
        raise HubError(f"there is no flavour {flavour!r}; choose {' or '.join(FLAVOURS)}")
    if precision not in PRECISIONS:
        raise HubError(f"there is no precision {precision!r}; choose {' or '.join(PRECISIONS)}")
    if flavour == REUSABLE and precision != FLOAT32:
        raise HubError(
            f"the reusable flavour is float32, which training needs; {precision} goes with "
            f"--flavor={SERVING}"
        )
