"""Finding data sets on disk, and reading their tables, with messages that help."""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from hares_tf.evaluation.errors import DataAbsentError, EvaluationError
from hares_tf.evaluation.tasks.declaration import Dataset, Places


def find(places: Places, dataset: Dataset, *candidates: str) -> Path:
    """The first of some paths that exists below the data folder.

    Args:
        places: where the user keeps data.
        dataset: the data set; every candidate is looked for below `data_dir/dataset.folder`, then
            below `data_dir` itself.
        candidates: relative paths, the most usual first; "" stands for the data set's own folder.

    Raises:
        DataAbsentError: none exists; the message says how to obtain and lay out the data.
    """
    if places.data_dir is None:
        raise DataAbsentError(
            f"{dataset.name} is looked for below the folder that --data_dir names; give it.\n"
            f"{dataset.obtain}"
        )
    roots = [places.data_dir / dataset.folder, places.data_dir]
    for root in roots:
        for candidate in candidates:
            path = root / candidate
            if (candidate or root == roots[0]) and path.exists():
                return path
    wanted = " or ".join(filter(None, candidates))
    missing = f"there is no {wanted} in {roots[0]} (nor in {roots[1]})"
    if not wanted:
        missing = f"there is no folder {roots[0]}"
    raise DataAbsentError(f"{dataset.name} was not found: {missing}.\n{dataset.obtain}")


def read_table(
    path: Path, columns: Iterable[str], delimiter: str = ","
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) of a CSV or TSV with a header.

    Raises:
        EvaluationError: the file cannot be read, or lacks one of `columns`, or a row is cut short.
    """
    columns = list(columns)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            absent = [name for name in columns if name not in (reader.fieldnames or [])]
            if absent:
                raise EvaluationError(
                    f"{path} has no column {absent[0]!r}; its columns are: "
                    f"{', '.join(reader.fieldnames or []) or 'none'}"
                )
            for row in reader:
                if any(row[name] is None for name in columns):
                    raise EvaluationError(f"{path}, row {reader.line_num}: a cell is missing")
                yield reader.line_num, row
    except OSError as error:
        raise EvaluationError(f"cannot read {path} ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path} is not a UTF-8 table: {error}") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped, without empty ones.

    Raises:
        EvaluationError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise EvaluationError(f"cannot read {path} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path} is not UTF-8 text: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def audio_files(folder: Path, ending: str | tuple[str, ...] = ".wav") -> dict[str, str]:
    """All files below `folder` with an ending: path relative to it (with "/") -> absolute path.

    One walk over the tree, in sorted order; folders reached through links included once. The ending
    is in lower case; it may be several.
    """
    found: dict[str, str] = {}
    root = os.path.abspath(folder)
    skipped = len(os.path.join(root, ""))
    seen: set[str] = set()
    for here, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(ending) and not name.startswith("."):
                path = os.path.join(here, name)
                # Every path begins with the root: slicing it off is far quicker than relpath.
                found[path[skipped:].replace(os.sep, "/")] = path
    return found
