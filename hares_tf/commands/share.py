"""The command `hares-share`: a module as an archive, and a page that describes it."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from hares_tf.commands import program as command
from hares_tf.hub.archive import pack
from hares_tf.hub.errors import HubError
from hares_tf.hub.loader import LocatedModule, locate
from hares_tf.utils.files import atomic_file

NAME = "hares-share"
DESCRIPTION = """
makes of a module what a model hub needs: an archive with its checksum, and a page about it.

    # f0.tar.gz and f0.tar.gz.sha256; equal modules give equal bytes
    hares-share exports/f0 --archive=f0.tar.gz

    # for Kaggle Models and other hubs: with the scores that hares-evaluate wrote for this module
    hares-share exports/f0 --archive=f0.tar.gz --card=f0.md --license=CC-BY-4.0 --results=results

The archive is flat, as tensorflow_hub wants it, and is a handle itself:
hares-evaluate --handle=f0.tar.gz. The page says what the module is for, how it is called, what it
was trained on, what it scores, what it cannot do, and its licence.
"""


def define_flags() -> flags.FlagValues:
    """The flags of the command."""
    values = flags.FlagValues()
    flags.DEFINE_string(
        "archive", None, "The archive to write, a .tar.gz; beside it .sha256.", flag_values=values
    )
    flags.DEFINE_string("card", None, "The page to write, a .md.", flag_values=values)
    flags.DEFINE_string(
        "license",
        None,
        "Under which the weights may be used, such as Apache-2.0 or CC-BY-4.0 (with --card).",
        flag_values=values,
    )
    flags.DEFINE_string(
        "results",
        None,
        "The --output of hares-evaluate; the scores of this very module go into the page.",
        flag_values=values,
    )
    return values


def _main(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    _check_flags(values, arguments)
    module = locate(arguments[0])
    if module.kind != "saved_model":
        raise HubError(f"{module.handle} is no SavedModel; export it first, with hares-export")
    # What can be wrong is found before anything is written.
    scores = scores_of(module, values.results) if values.results else ""
    archive = None
    if values.archive:
        archive = (Path(values.archive).name, pack(module.path, values.archive))
        print(f"{values.archive}: {archive[1]}")
    if values.card:
        from hares_tf.hub.model_card import write_model_card

        text = write_model_card(module, values.license, scores, archive)
        with atomic_file(values.card) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(values.card)


def _check_flags(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        raise HubError(f"name one module: {NAME} exports/f0 --archive=f0.tar.gz")
    if not values.archive and not values.card:
        raise HubError("name what to write: --archive=FILE.tar.gz, --card=FILE.md, or both")
    if values.card and not values.card.endswith(".md"):
        raise HubError(f"--card={values.card}: the page is Markdown; its name must end in .md")
    if values.card and not values.license:
        raise HubError(
            "--card needs --license: under what terms may others use the weights, for example "
            "--license=CC-BY-4.0?"
        )
    for flag in ("license", "results"):
        if values[flag].value and not values.card:
            raise HubError(f"--{flag} goes with --card")


def scores_of(module: LocatedModule, folder: str) -> str:
    """The scores of a module as Markdown tables, one for each protocol and suite.

    Args:
        module: whose content decides which results are its own.
        folder: of results, as hares-evaluate writes them.

    Raises:
        EvaluationError: there are no results.
        HubError: none of them is of this module.
    """
    from hares_tf.evaluation.report import comparison, reading
    from hares_tf.hub.model_card import bullets, grid, plain

    found, _ = reading.read([folder])
    content = module.content_hash()
    own = [result for result in found if result.section("model").get("fingerprint") == content]
    if not own:
        others = ", ".join(sorted({result.name for result in found}))
        raise HubError(
            f"{folder} holds no result of {module.handle} ({content[:12]}), only of {others}; run "
            f"hares-evaluate --handle={module.handle} --output={folder}"
        )
    parts = []
    for table in comparison.tables(own):
        footnotes = comparison.Footnotes()
        rows = [
            (row.name, row.metric, *(_cell(cell, footnotes) for cell in row.cells))
            for row in table.rows
        ]
        title = f"{comparison.SUITE_TITLES[table.suite]}, protocol {table.identity}"
        parts += [f"**{plain(title)}**", grid(("Task", "Metric", *table.names), rows)]
        parts += [plain(note) for note in [comparison.SUITE_NOTES[table.suite]] if note]
        notes = [f"\\[{mark}\\] {plain(text)}" for mark, text in enumerate(footnotes.texts, 1)]
        parts += [bullets(notes)] if notes else []
    return "\n\n".join(["Percent; in brackets 95% intervals over test clips.", *parts])


def _cell(cell, footnotes) -> str:
    marks = "".join(f" [{mark}]" for mark in footnotes.marks(cell.reasons))
    if cell.value is None:
        return f"–{marks}"
    interval = f" ({cell.interval[0]:.1f}–{cell.interval[1]:.1f})" if cell.interval else ""
    return f"{cell.value:.1f}{interval}{marks}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; gives its exit code."""
    return command.run(NAME, DESCRIPTION, define_flags(), _main, argv, positionals=True)


if __name__ == "__main__":
    sys.exit(main())
