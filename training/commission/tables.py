"""Tables as hospitals export them: CSV in UTF-8, parted by comma, semicolon or tab, plain or gzip."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

from models.errors import UnusableInput


def lines_of(path: Path) -> Iterator[dict[str, str]]:
    """Return each line by column. Raises UnusableInput where it is no table."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = data.decode("utf-8-sig").splitlines(keepends=True)
        mark = max(",;\t", key=lines[0].count) if lines else ","
        for line in csv.DictReader(lines, delimiter=mark):
            yield {key: value or "" for key, value in line.items() if key is not None}
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise UnusableInput(f"{path.name}: must be a table (CSV, UTF-8), it cannot be read. Correct or convert it.",
                            code="unreadable") from error
