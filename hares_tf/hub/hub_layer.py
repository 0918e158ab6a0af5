"""A Hub module as a layer of Keras 3, where `hub.KerasLayer` either fails or trains nothing."""

import os
from pathlib import Path

import keras
import tensorflow as tf

from hares_tf.hub.calling import find_entry_point
from hares_tf.hub.errors import HubError
from hares_tf.hub.loader import PYTHON_PREFIX, LocatedModule, load, locate
from hares_tf.hub.model_card import CARD_NAME
from hares_tf.utils._compat import in_safe_mode
from hares_tf.utils.errors import reason
from hares_tf.utils.files import write_json

# Fields of a module's card that are also true of a model around it.
_KEPT_FIELDS = ("sample_rate", "license")


@keras.saving.register_keras_serializable(package="hares_tf")
class HubLayer(keras.layers.Layer):
    """Any SavedModel or Hub handle as a Keras layer, frozen or trainable.

    Gives what the module gives, cast to the layer's compute dtype: a tensor, or the module's
    dictionary or tuple of them. A module that takes one waveform at a time (`[samples]`, as YAMNet
    does) is called for each row of a batch, and its outputs are stacked. A module without a call is
    called by its signature `serving_default`; one with a single output gives that.

    When trainable, the module's own `trainable_variables` are the layer's, its
    `regularization_losses` count, and it is told when it is being trained. When frozen there is
    none of this, and no gradient is computed for its variables. `trainable` may be changed at any
    time; compile the model again afterwards, as Keras asks for.

    The input is cast to what the module takes: in a mixed precision model waveforms keep their
    float32.

    A saved model (`.keras`) holds the weights and the handle: the module must still be there when
    it is loaded, after `from hares_tf.hub import HubLayer`.

    Under a distribution strategy, make the layer within `strategy.scope()`.

    Args:
        handle: a folder, archive or address of a SavedModel, see `hares_tf.hub.locate`.
        trainable: whether the module's variables are trained.
        output_key: which output to give, if the module has several: a name, or a position. An
            output that only a signature has, such as `frames`, is taken from there.
        arguments: further keyword arguments of the module's call, such as {"sample_rate": 16000};
            {"training": False} calls it in inference mode also while it is trained.
        entry_point: what to call: "__call__", or the name of a function or of a signature. Default:
            the module's call, see above.
        **kwargs: `name` and `dtype` of a Keras layer.

    Raises:
        HubError: the handle names no SavedModel, one without such an output, or `trainable` is
            asked of a module that lists no trainable variables.
    """

    def __init__(
        self,
        handle: str | os.PathLike,
        trainable: bool = False,
        output_key: str | int | None = None,
        arguments: dict | None = None,
        entry_point: str | None = None,
        **kwargs,
    ):
        # Casting waveforms to bfloat16 would leave 8 bits of them.
        super().__init__(trainable=trainable, autocast=False, **kwargs)
        # Foreign graphs may hold what XLA cannot compile, and it would compile for each length.
        self.supports_jit = False
        if keras.backend.backend() != "tensorflow":
            raise HubError(
                "HubLayer needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow (it is "
                f"{keras.backend.backend()})."
            )
        self.handle = os.fspath(handle)
        self.output_key = output_key
        self.arguments = dict(arguments or {})
        self.entry_point = entry_point
        module = _located(self.handle)
        # Held for two reasons: its functions hold its variables weakly, and `export` looks for its
        # lookup tables among what the layer holds.
        self._loaded = load(module)
        self._entry = find_entry_point(
            self.handle, self._loaded, output_key, self.arguments, entry_point
        )
        self._adopt_variables()
        if trainable and not self._trainable_variables:
            raise HubError(
                f"{self.handle} lists no trainable_variables, so it can be used only with "
                "trainable=False."
            )
        self._watch_variables()

    @property
    def module(self):
        """The loaded module; its variables are those of the layer."""
        return self._loaded

    @property
    def has_training_mode(self) -> bool:
        """Whether the module is told when it is trained."""
        return True in self._entry.training

    @property
    def trainable(self) -> bool:
        """Whether the module's variables are trained."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Layer.trainable.fset(self, value)
        self._watch_variables()

    def build(self, input_shape):
        """Checks that the module takes such inputs.

        Raises:
            HubError: it does not; the message says what it takes.
        """
        self._entry.form(input_shape)

    def call(self, inputs, training=False):
        outputs = self._entry(inputs, bool(training) and self.trainable)
        return tf.nest.map_structure(self._in_compute_dtype, outputs)

    def get_config(self) -> dict:
        return super().get_config() | {
            # Of a module without trainable variables Keras may have set it with a whole model's.
            "trainable": self.trainable and bool(self._trainable_variables),
            "handle": self.handle,
            "output_key": self.output_key,
            "arguments": self.arguments,
            "entry_point": self.entry_point,
        }

    @classmethod
    def from_config(cls, config: dict) -> "HubLayer":
        """The layer again.

        Raises:
            HubError: see the constructor; also when Keras loads a file in its safe mode that would
                fetch a module from the network.
        """
        handle = config["handle"]
        local = "://" not in handle or handle.startswith("file://")
        if in_safe_mode() and not local:
            raise HubError(
                f"The model would fetch and run {handle}; if you trust the file it is loaded from, "
                "load it with safe_mode=False."
            )
        return cls(**config)

    def _adopt_variables(self) -> None:
        """Makes the module's variables the layer's, by one Keras variable around each."""
        listed = list(getattr(self._loaded, "trainable_variables", None) or ())
        trainable = {id(variable) for variable in listed}
        # Modules that list nothing have variables all the same: those that their functions use.
        others = [*(getattr(self._loaded, "variables", None) or ()), *self._entry.variables]
        every = {id(variable): variable for variable in (*listed, *others)}
        names = set()
        for key, variable in every.items():
            if not variable.shape.is_fully_defined() or variable.dtype == tf.string:
                continue  # no Keras variable can hold it; it stays as the handle has it
            # Names of TensorFlow end with ":0", which no optimizer can make a slot's name of.
            base = variable.name.split(":")[0].replace("/", "_")
            name, number = base, 0
            while name in names:
                number += 1
                name = f"{base}_{number}"
            names.add(name)
            with keras.name_scope(self.name):
                adopted = keras.Variable(
                    "zeros",
                    shape=tuple(variable.shape),
                    dtype=variable.dtype.name,
                    trainable=key in trainable,
                    autocast=False,
                    name=name,
                )
            # Private interfaces of Keras: its variables cannot be made around an existing one, and
            # its layers find variables only in attributes. tests/hub/test_hub_layer.py pins both.
            adopted._value = variable
            self._track_variable(adopted)
        losses = list(getattr(self._loaded, "regularization_losses", None) or ())
        if losses and self._trainable_variables:
            # As the regularizer of one variable the losses count once, however often the layer is
            # called, and only while that variable is trained.
            self._trainable_variables[0].regularizer = _ModuleLosses(losses)

    def _watch_variables(self) -> None:
        """Keeps variables that are not trained off gradient tapes.

        A tape watches TensorFlow's variables by their own flag, which Keras leaves alone: without
        this a frozen module would be differentiated, and its activations kept, for nothing.
        Gradients with respect to the layer's input are not affected.
        """
        if self.trainable and self._trainable_variables and self._entry.training == {False}:
            raise HubError(
                f"{self.handle} was traced for inference only, so it can be used only with "
                "trainable=False."
            )
        for adopted in (*self._trainable_variables, *self._non_trainable_variables):
            # Under a strategy a variable has a part on each device.
            for part in getattr(adopted.value, "values", (adopted.value,)):
                part._trainable = adopted.trainable

    def write_card(self, folder: str | os.PathLike, **fields) -> None:
        """Writes a model card beside a SavedModel that holds this layer.

        After `model.export(folder)`, which knows nothing of cards, so that `hares-evaluate` and
        others find the sample rate without a flag.

        Args:
            folder: holds `saved_model.pb`.
            **fields: for example `classes`, the names of the logits; `sample_rate` where the
                module of this layer has no card. The name is the folder's by default.

        Raises:
            HubError: there is no SavedModel, or the sample rate is not known.
        """
        folder = Path(folder)
        source = _located(self.handle)
        known = {key: source.card[key] for key in _KEPT_FIELDS if key in source.card}
        card = {"name": folder.resolve().name, **known, "source": source.name, **fields}
        if not (folder / "saved_model.pb").is_file():
            raise HubError(f"{folder} holds no saved_model.pb; export the model first.")
        if not isinstance(card.get("sample_rate"), int):
            raise HubError(f"{self.handle} has no model card; give sample_rate= in hertz.")
        try:
            write_json(folder / CARD_NAME, card)
        except TypeError as error:
            raise HubError(f"A model card holds JSON data only: {reason(error)}.") from error

    def _in_compute_dtype(self, output):
        return tf.cast(output, self.compute_dtype) if output.dtype.is_floating else output


class _ModuleLosses:
    """A regularizer that stands for the losses which a module brings."""

    def __init__(self, losses: list):
        self._losses = losses

    def __call__(self, variable):
        return tf.add_n([tf.cast(loss(), tf.float32) for loss in self._losses])


def _located(handle: str) -> LocatedModule:
    # Before it is looked for: a function's module would be imported, which a file must not do.
    if handle.startswith(PYTHON_PREFIX):
        raise HubError(
            f"{handle} is a Python function, not a SavedModel; call it in your own layer."
        )
    module = locate(handle)
    if module.kind != "saved_model":
        raise HubError(
            f"{handle} is a Keras model, not a SavedModel; load it with keras.saving.load_model "
            "and use it as a layer."
        )
    return module
