"""What differs between two runs, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipe_results.program import PathText, Program
from pipe_results.runs import Run, shown

VALUES = ("value", "low", "high")
"""The columns of a table of metrics that are no names."""

INTERVALS = ("low_before", "high_before", "low_after", "high_after")


@dataclass(frozen=True)
class Comparison:
    """Two runs, and tables of what differs. `before` and `after` are values of the first run and the second."""

    first: Run
    second: Run
    settings: pd.DataFrame
    """Of what was asked for, the manifest, the machine and the crates: what, name, before, after."""
    parameters: pd.DataFrame
    """Parameters that differ: instance, stage, name, before, after, origin."""
    instances: pd.DataFrame
    """Instances that differ: instance, before, after (states), outputs, causes."""
    scalars: pd.DataFrame
    """Scalars that differ: instance, name, before, after, difference."""
    tests: pd.DataFrame
    """Metrics compared on the cases of both: instance, name, n, before, after, difference, low, high, p, test."""

    @property
    def metrics(self) -> pd.DataFrame:
        """All metrics of both runs side by side, with intervals and differences; whether they differ or not."""
        tables = (self.first.metrics, self.second.metrics)
        names = [name for name in tables[0].columns if name not in VALUES and name in tables[1].columns]
        merged = pd.concat([table[names] for table in tables], ignore_index=True).drop_duplicates()
        for table, side in zip(tables, ("before", "after"), strict=True):
            columns = {name: side if name == "value" else f"{name}_{side}" for name in VALUES}
            merged = merged.merge(table[[*names, *VALUES]].rename(columns=columns), on=names, how="left")
        merged["difference"] = merged["after"] - merged["before"]
        return merged[[*names, "before", "after", "difference", *INTERVALS]]

    def __repr__(self) -> str:
        """The comparison in a line."""
        return f"<Comparison {self.first.id} → {self.second.id}: {len(self.instances)} instances differ>"


def compare(
    first: Run | str, second: Run | str, cache: PathText | None = None, pipe: PathText | None = None
) -> Comparison:
    """What differs between two runs of one cache, given as they are or by their ids."""
    program = first.program if isinstance(first, Run) else Program.at(cache, pipe)
    before, after = (one if isinstance(one, Run) else shown(program, one) for one in (first, second))
    diff = program.answer("diff", before.id, after.id)["diff"]
    instances = diff["instances"]
    return Comparison(
        first=before,
        second=after,
        settings=frame(["what", "name", "before", "after"], settings(diff)),
        parameters=frame(["instance", "stage", "name", "before", "after", "origin"], parameters(instances)),
        instances=frame(["instance", "before", "after", "outputs", "causes"], states(instances)),
        scalars=frame(["instance", "name", "before", "after", "difference"], scalars(instances), numbers=3),
        tests=pd.DataFrame(tests(instances), columns=TEST_COLUMNS),
    )


TEST_COLUMNS = ["instance", "name", "n", "before", "after", "difference", "low", "high", "p", "test"]


def frame(columns: list[str], rows: list[tuple[Any, ...]], numbers: int = 0) -> pd.DataFrame:
    """A table of values as they are, the last columns of it of numbers."""
    table = pd.DataFrame(rows, columns=columns, dtype=object)
    return table.astype({name: "float64" for name in columns[len(columns) - numbers :]})


def settings(diff: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What differs besides instances."""
    return [
        (what, one["name"], one["before"], one["after"])
        for what in ("asked", "surroundings", "crates", "manifest")
        for one in diff[what]
    ]


def parameters(instances: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The parameters among the causes of each instance's difference."""
    rows = []
    for one in instances:
        for cause in one["causes"]:
            reason = cause["reason"]
            change = reason.get("change") or {}
            if change.get("changed") == "parameter":
                values = (change.get("before"), change.get("after"))
                rows.append((one["instance"], reason["stage"], change["name"], *values, reason.get("origin")))
    return rows


def states(instances: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What became of each instance that differs, and why it does, in words."""
    return [
        (one["instance"], *one["status"], one["outputs"], [cause["text"] for cause in one["causes"]])
        for one in instances
    ]


def scalars(instances: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Scalars that differ."""
    return [
        (one["instance"], scalar["name"], before, after, difference(before, after))
        for one in instances
        for scalar in one["scalars"]
        for before, after in [(scalar["before"], scalar["after"])]
    ]


def difference(before: float | None, after: float | None) -> float | None:
    """How much more there is after, if both are known."""
    return None if before is None or after is None else after - before


def tests(instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Metrics that were compared on the cases of both runs."""
    return [
        {
            **compared,
            "instance": one["instance"],
            "difference": compared["after"] - compared["before"],
            "low": compared["interval"][0],
            "high": compared["interval"][1],
        }
        for one in instances
        for compared in one["comparisons"]
    ]
