"""Tables as spreadsheets and people write them: any usual separator, encoding and spelling of the columns."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelcam.errors import DatasetError

SEPARATORS = (",", ";", "\t", "|")
_MOST_BYTES = 200_000_000
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x81\x8d\x8f\x90\x9d]")
_SEPARATOR_LINE = re.compile(r"sep=(.)", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes
    ----------
    line
        Number of the line that it ends on.
    cells
        Of each asked-for column, and of every other one by its name in lower case; "" where missing.
    separator
        What stands between the columns of the table.
    """

    line: int
    cells: dict[str, str]
    separator: str


def read_table(path: Path, columns: Sequence[str]) -> list[Row]:
    """Return the rows of a table with a line of column names.

    Columns stand apart by commas, semicolons, tabs or bars, with or without blanks around and quotes; which
    of them is told by the line of names. Those may be in upper or lower case, and in the singular. The text
    is UTF-8, UTF-16 or what Windows writes in western Europe. Empty lines, empty columns at the end and
    repetitions of a row are passed over.

    Raises
    ------
    DatasetError
        The file is missing or no such file, has a column twice, lacks one of the columns or any row, or has a
        row of more values than columns.
    """
    lines = _lines(path)
    header, separator = _header(path, lines, columns)
    names = [_plain(name, columns) for name in header]
    twice = next((name for name, uses in Counter(filter(None, names)).items() if uses > 1), None)
    if twice is not None:
        raise DatasetError(f"{path} has the column {twice} several times: keep one of them.")
    lacking = [column for column in columns if column not in names]
    if lacking:
        found = ", ".join(repr(name) for name in header if name.strip())
        needed = f"{', '.join(columns[:-1])} and {columns[-1]}"
        raise DatasetError(f"{path} lacks the column {lacking[0]}: it needs {needed}, but has {found}.")
    rows: list[Row] = []
    seen = set()
    for line, values in _parsed(path, lines, separator)[1:]:
        if any(values[len(names) :]):
            raise DatasetError(
                f"Line {line} of {path} has more values than there are columns: put a value that holds "
                f"{_word(separator)} in quotes, and several labels apart by "
                f"{'commas' if separator == ';' else 'semicolons'}."
            )
        values += [""] * (len(names) - len(values))
        key = tuple(values[: len(names)])
        if key not in seen:
            seen.add(key)
            rows.append(
                Row(
                    line, {name: value for name, value in zip(names, values, strict=False) if name}, separator
                )
            )
    if not rows:
        raise DatasetError(f"{path} lists no images.")
    return rows


def read_rows(path: Path, cells: int) -> list[list[str]]:
    """Return the lines of a table without column names, each cell stripped; empty lines are passed over.

    Raises
    ------
    DatasetError
        The file is missing or unreadable, or a line has fewer than `cells` values.
    """
    lines = _lines(path)
    rows: list[tuple[int, list[str]]] = []
    for separator in SEPARATORS:
        rows = _parsed(path, lines, separator)
        if not rows or len(rows[0][1]) >= cells:
            break
    else:
        rows = _parsed(path, lines, ",")
    for line, row in rows:
        if len(row) < cells:
            raise DatasetError(f"Line {line} of {path} has {len(row)} values instead of {cells}.")
    return [row for _, row in rows]


def split_labels(cell: str, separator: str) -> frozenset[str]:
    """Return the labels in a cell, apart by semicolons or bars, else, if the columns are not, by commas."""
    parts = re.split(r"[;|]", cell)
    if len(parts) == 1 and separator != ",":
        parts = cell.split(",")
    return frozenset(part.strip() for part in parts if part.strip())


def _lines(path: Path) -> list[str]:
    """Return the text of a file in lines that keep their ends, less a first one that names the separator."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from error
    text = None if len(data) > _MOST_BYTES else _decoded(data)
    if text is None:
        raise DatasetError(f"{path} is not a text file of comma-separated values.")
    lines = text.splitlines(keepends=True)
    return lines[1:] if lines and _SEPARATOR_LINE.fullmatch(lines[0].strip()) else lines


def _decoded(data: bytes) -> str | None:
    """Return text of whichever encoding, None for what is none."""
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        encodings = ["utf-32"]
    elif data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif data[1:2] == b"\0":
        encodings = ["utf-16-le"]
    elif data[:1] == b"\0":
        encodings = ["utf-16-be"]
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return None if _NO_TEXT.search(text) else text
    return None


def _parsed(path: Path, lines: list[str], separator: str) -> list[tuple[int, list[str]]]:
    """Return (line, stripped cells) of each line that holds something."""
    reader = csv.reader(io.StringIO("".join(lines), newline=""), delimiter=separator, skipinitialspace=True)
    rows = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise DatasetError(f"{path} is not a text file of comma-separated values.") from error
    return rows


def _header(path: Path, lines: list[str], columns: Sequence[str]) -> tuple[list[str], str]:
    """Return the names in the first line, and the separator by which most of the columns are found in it."""
    found = []
    for separator in SEPARATORS:
        rows = _parsed(path, lines, separator)
        header = rows[0][1] if rows else []
        known = {_plain(name, columns) for name in header}
        found.append((sum(column in known for column in columns), len(header), header, separator))
    _, _, header, separator = max(found, key=lambda one: one[:2])
    return header, separator


def _plain(name: str, columns: Sequence[str]) -> str:
    """Return what a column is called here: one of `columns`, else its name in lower case."""
    plain = re.sub(r"\s+", " ", name.strip().strip("'\"").strip()).casefold()
    forms = {form: column for column in columns for form in (column, f"{column}s", column.removesuffix("s"))}
    return forms.get(plain, plain)


def _word(separator: str) -> str:
    return {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}[separator]
