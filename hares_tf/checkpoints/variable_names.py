"""Names of a model's variables that are the same in every process: keys of checkpoints."""

from hares_tf.models.errors import ModelError


def named_variables(model, prefix: str) -> dict:
    """The weights of a built model or layer by name, in the model's order.

    The name is `PREFIX/` and the variable's path below the model, for example
    `encoder/network/slow/stem_conv0/kernel`. The states of seed generators are left out: Keras
    numbers them through the whole process, so that the same model has other names the next time.

    Args:
        model: a built Keras model or layer; its own name is not part of the names.
        prefix: first part of every name.

    Raises:
        ModelError: two variables would share a name.
    """
    named = {}
    for variable in model.weights:
        name = f"{prefix}/{variable.path.removeprefix(model.name + '/')}"
        if name in named:
            raise ModelError(
                f"Two variables of {model.name} are called {name}; give its layers distinct names."
            )
        named[name] = variable
    return named
