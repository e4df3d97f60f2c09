"""The parameters that a run was given, from the statement of its provenance, which holds the resolved manifest."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from pipe_results.errors import PipeError
from pipe_results.program import Program

COLUMNS = ["instance", "stage", "name", "value", "origin"]

PARAMETER = "param."
"""How the names of parameters begin among the origins of an instance."""


def of_run(program: Program, run: str, instances: list[dict[str, Any]]) -> pd.DataFrame:
    """A row for each parameter of an instance that was given somewhere."""
    stages = resolved(program, run).get("stage", {})
    rows = []
    for one in instances:
        given = stages.get(one["stage"], {}).get("params", {})
        for key, origin in sorted((one.get("origins") or {}).items()):
            if key.startswith(PARAMETER):
                name = key.removeprefix(PARAMETER)
                value = typed(one["selector"][name]) if name in one["selector"] else given.get(name)
                rows.append((one["label"], one["stage"], name, value, origin))
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def resolved(program: Program, run: str) -> dict[str, Any]:
    """A run's manifest after profiles, overrides and variables."""
    with tempfile.TemporaryDirectory(prefix="pipe-results-") as folder:
        try:
            program.answer("export", run, "--format", "in-toto", "--to", folder)
        except PipeError as error:
            message = f"the parameters of {run} are not told: {error.message}"
            raise PipeError(message, "`run.settings` is what --set gave, `run.manifest` has the rest") from error
        statement = json.loads(Path(folder, "statement.json").read_text("utf-8"))
    manifest: dict[str, Any] = statement["predicate"]["buildDefinition"]["externalParameters"]["manifest"]
    return manifest


def typed(text: str) -> Any:
    """A value of `foreach`, which labels hold as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
