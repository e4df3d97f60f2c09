"""Values of Python as a manifest's TOML writes them, for `--set`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from pipe_results.errors import PipeError


def text(value: Any) -> str:
    """A value in TOML, on one line. What NumPy has is as what Python has."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (str, os.PathLike)):
        return quoted(os.fspath(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{quoted(key)} = {text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return "[" + ", ".join(text(inner) for inner in value) + "]"
    raise PipeError(
        f"{value!r} cannot be written into a manifest",
        "give text, a number, true or false, or lists and dictionaries of these",
    )


def quoted(value: Any) -> str:
    """Text as TOML quotes it, which is as JSON does but for one character."""
    if not isinstance(value, str):
        raise PipeError(f"{value!r} cannot be a key of a manifest", "give text")
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def arguments(settings: Mapping[str, Any] | None) -> list[str]:
    """The command line's `--set` for each setting."""
    return [part for key, value in (settings or {}).items() for part in ("--set", f"{key}={text(value)}")]
