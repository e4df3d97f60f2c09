"""CSV files as DataFrames that say what the file says: `007` stays text, and only an empty cell is missing.

A column is of numbers where each of its values is written as one, and its name is not that of an identifier.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from pipe_results.errors import PipeError

IDENTIFIERS = frozenset({"pid", "id", "item", "scan"})
"""Columns that are text whatever is in them, as are those whose names end in `_id`."""

WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,14})")
"""A whole number that each kind of number holds exactly; one of more digits is a name."""

NUMBER = re.compile(WHOLE.pattern + r"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)|-?inf|NaN")
"""A number as programs write it: without zeros before it, and without a plus."""


def read(path: Path, text: Iterable[str] = ()) -> pd.DataFrame:
    """A CSV file's table; the columns in `text` stay text besides those that do anyway."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8")
    except (ValueError, UnicodeError) as error:
        raise PipeError(f"{path.name} is no table in CSV: {error}", "`run.read` gives its bytes") from error
    as_text = set(text)
    for name in table.columns:
        if not is_identifier(str(name)) and name not in as_text:
            table[name] = typed(table[name])
    return table


def is_identifier(name: str) -> bool:
    """Whether a column's name says that its values are names, even where they look like numbers."""
    return name.lower() in IDENTIFIERS or name.lower().endswith("_id")


def typed(column: pd.Series) -> pd.Series:
    """A column as numbers where all values are, as whole ones where none is missing; else the text that it was."""
    values = column.dropna().astype(object)
    if not all(NUMBER.fullmatch(value) for value in values):
        return column
    is_whole = len(values) == len(column) and all(WHOLE.fullmatch(value) for value in values)
    return column.astype(object).astype("int64" if is_whole else "float64")
