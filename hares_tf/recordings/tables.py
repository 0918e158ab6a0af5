"""Tables and lists of recordings: CSV, TSV and plain text files."""

import csv
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from hares_tf.recordings.errors import RecordingsError
from hares_tf.utils.errors import reason


def read_table(
    path: str | os.PathLike,
    columns: Iterable[str],
    delimiter: str = ",",
    content: bytes | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Reads a CSV or TSV file with a header.

    Args:
        path: a file in UTF-8, with or without a byte order mark.
        columns: the columns that are needed.
        delimiter: between the cells of a row.
        content: the bytes of the file, where it lies in an archive; `path` then only names it.

    Yields:
        For each row that is not empty the number of its (last) line and the stripped cells of
        `columns` by column.

    Raises:
        RecordingsError: the file cannot be read, a column is absent or there twice, or a row has
            more or fewer cells than the header; the message names the row.
    """
    columns = list(columns)
    try:
        with open(path, "rb") if content is None else io.BytesIO(content) as binary:
            file = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
            reader = csv.reader(file, delimiter=delimiter)
            header = next(reader, [])
            for column in columns:
                if header.count(column) != 1:
                    problem = "has no" if column not in header else "has more than one"
                    raise RecordingsError(
                        f"{path}, row 1: the table {problem} column {column!r}; its columns are: "
                        f"{', '.join(header) or 'none'}."
                    )
            place = {column: header.index(column) for column in columns}
            for cells in reader:
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    raise RecordingsError(
                        f"{path}, row {reader.line_num}: {len(cells)} cells, but the header has "
                        f"{len(header)} columns; a cell with a {delimiter!r} in it must be quoted."
                    )
                yield reader.line_num, {name: cells[at].strip() for name, at in place.items()}
    except OSError as error:
        raise RecordingsError(f"Cannot read {path} ({reason(error)}).") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordingsError(f"{path} is not a table in UTF-8 ({reason(error)}).") from error


def read_lines(path: str | os.PathLike) -> list[str]:
    """Returns the lines of a text file in UTF-8, stripped and without empty ones.

    Raises:
        RecordingsError: the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RecordingsError(f"Cannot read {path} ({reason(error)}).") from error
    except UnicodeDecodeError as error:
        raise RecordingsError(f"{path} is not text in UTF-8 ({reason(error)}).") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
