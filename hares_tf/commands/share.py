"""The command `hares-share`: a module as an archive, and a page that describes it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hares_tf.commands.declaration import Flag, UsageError, given
from hares_tf.commands.program import Command
from hares_tf.hub.archive import pack
from hares_tf.hub.errors import HubError
from hares_tf.hub.loader import locate
from hares_tf.utils.files import atomic_file

DESCRIPTION = """
prepares a module for a model hub: an archive with its checksum, and a page about it.

    # f0.tar.gz and f0.tar.gz.sha256; equal modules give equal bytes
    hares-share exports/f0 --archive=f0.tar.gz

    # for Kaggle Models and other hubs: with the scores that hares-evaluate wrote for this module
    hares-share exports/f0 --archive=f0.tar.gz --card=f0.md --license=CC-BY-4.0 --results=results

The archive is flat, as tensorflow_hub expects it, and is a handle itself:
hares-evaluate --handle=f0.tar.gz. The page describes the module's purpose, interface, training
data, scores, limits and license.
"""

_CARD = (given("card"),)
FLAGS = {
    "Module": (
        Flag(
            "handle",
            "The SavedModel, a folder or an archive. It may also be given without the flag's name.",
            required=True,
        ),
    ),
    "Output": (
        Flag("archive", "The archive to write, a .tar.gz; a .sha256 is written beside it."),
        Flag("card", "The page to write, a .md."),
        Flag(
            "license",
            "The license of the weights, such as Apache-2.0 or CC-BY-4.0.",
            required=given("card"),
            goes_with=_CARD,
        ),
        Flag(
            "results",
            "The --output of hares-evaluate; the scores of this very module go into the page.",
            goes_with=_CARD,
        ),
    ),
}


def _run(values: Any) -> None:
    if not values.archive and not values.card:
        raise UsageError("Give --archive=FILE.tar.gz, --card=FILE.md, or both.")
    if values.card and not values.card.endswith(".md"):
        raise UsageError(f"--card={values.card}: the page is Markdown; its name ends in .md.")
    module = locate(values.handle)
    if module.kind != "saved_model":
        raise HubError(f"{module.handle} is not a SavedModel; export it first, with hares-export.")
    scores = ""
    if values.results:  # before anything is written, because it may fail
        from hares_tf.evaluation.report.module_scores import module_scores

        scores = module_scores(module, values.results)
    archive = None
    if values.archive:
        archive = (Path(values.archive).name, pack(module.location, values.archive))
        print(f"{values.archive}: {archive[1]}")
    if values.card:
        from hares_tf.hub.model_page import model_page

        text = model_page(module, values.license, scores, archive)
        with atomic_file(values.card) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(values.card)


COMMAND = Command("hares-share", DESCRIPTION, FLAGS, _run, positional="handle")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return COMMAND.main(argv)


if __name__ == "__main__":
    sys.exit(main())
