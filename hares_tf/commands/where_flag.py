"""The flag --where: which rows of a table of recordings are taken."""

from absl import flags

from hares_tf.data.errors import DataError


def define(values: flags.FlagValues, more: str = "") -> None:
    """Adds the flag; `more` is said at the end of its help."""
    flags.DEFINE_multi_string(
        "where",
        None,
        "COLUMN=VALUE or COLUMN=VALUE,VALUE: take rows of the CSV with one of these values; with "
        f"several such flags all must hold.{more}",
        flag_values=values,
    )


def read(values: flags.FlagValues) -> list[tuple[str, tuple[str, ...]]]:
    """(column, values) of each, as `sources.table_source` takes them.

    Raises:
        DataError: one is written otherwise.
    """
    return [_condition(text) for text in values.where or []]


def _condition(text: str) -> tuple[str, tuple[str, ...]]:
    column, equals, cell = text.partition("=")
    if not column.strip() or not equals:
        raise DataError(f"--where={text}: write --where=COLUMN=VALUE, for example fold=1,2,3")
    return column.strip(), tuple(value.strip() for value in cell.split(","))
