"""Runs as the program tells them: what was asked for, what came of it, and the results themselves."""

from __future__ import annotations

import functools
import json
from datetime import datetime
from pathlib import Path
from typing import Any, overload

import pandas as pd

from pipe_results import outputs, parameters, tables, tensors
from pipe_results.errors import PipeError
from pipe_results.program import PathText, Program
from pipe_results.tensors import Array

METRICS = "metrics"
"""The output in which a stage tells metrics, in a table of this name."""

METRIC_NAMES = ("dataset", "prediction", "metric")
METRIC_COLUMNS = ["instance", *METRIC_NAMES, "value", "low", "high"]
INSTANCE_COLUMNS = [
    "label",
    "stage",
    "kind",
    "state",
    "seconds",
    "outputs",
    "fingerprint",
    "from_run",
    "items_executed",
    "items_cached",
    "error",
    "selector",
]


def runs(cache: PathText | None = None, pipe: PathText | None = None) -> list[Run]:
    """The runs of a cache, newest first; without one, of that which the program finds from the current folder."""
    program = Program.at(cache, pipe)
    return [Run(program, head) for head in program.answer("runs")["runs"]]


def run(name: str = "latest", cache: PathText | None = None, pipe: PathText | None = None) -> Run:
    """A run by its id, a unique beginning of it, or `latest`."""
    return shown(Program.at(cache, pipe), name)


def shown(program: Program, name: str) -> Run:
    """A run as `pipe show` tells it."""
    record = program.answer("show", name)
    summary = record["summary"] or {}
    head = {
        **{field: record["asked"][field] for field in ("run", "pipeline", "started", "set", "profiles")},
        "state": record["state"],
        "seconds": summary.get("seconds"),
        "headline": summary.get("headline"),
    }
    found = Run(program, head)
    found.record = record
    return found


class Run:
    """A run. What it says of itself is read once; results are copied by the program when they are first asked for.

    `with run:` or `run.close()` removes the copies early; else they go with the object, or when Python ends.
    """

    def __init__(self, program: Program, head: dict[str, Any]) -> None:
        """A run of which the list of runs tells this much."""
        self.program = program
        self.head = head
        self.id = str(head["run"])
        self.status = str(head.get("state", "unreadable"))
        self.pipeline: str | None = head.get("pipeline")
        self.headline: str | None = head.get("headline")
        self.seconds: float | None = head.get("seconds")
        self.settings: list[str] = list(head.get("set", ()))
        self.profiles: list[str] = list(head.get("profiles", ()))
        self.events: list[dict[str, Any]] = []
        self.copies = outputs.Copies(program, self.id)

    def __repr__(self) -> str:
        """The run in a line."""
        took = "" if self.seconds is None else f", {self.seconds:.1f} s"
        told = f": {self.headline}" if self.headline else ""
        return f"<Run {self.id} {self.status}, {self.pipeline}{took}{told}>"

    def __enter__(self) -> Run:
        """The run, whose copies go at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the copies."""
        self.close()

    def close(self) -> None:
        """Removes the copies of results that were made for this object."""
        self.copies.close()

    @functools.cached_property
    def record(self) -> dict[str, Any]:
        """All that `pipe show --json` tells."""
        return self.program.answer("show", self.id)

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked for, by which program, and where."""
        asked: dict[str, Any] = self.record["asked"]
        return asked

    @property
    def started(self) -> datetime | None:
        """When the run began, in UTC."""
        text = self.head.get("started")
        return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00"))

    @property
    def manifest(self) -> str:
        """The manifest's path as it was given."""
        return str(self.asked["manifest"])

    @property
    def root(self) -> Path | None:
        """The folder that the manifest's paths were read against; none in older records."""
        root = self.asked.get("root")
        return None if root is None else Path(root)

    @property
    def seed(self) -> int:
        """The seed of random numbers."""
        return int(self.asked["seed"])

    @property
    def instances(self) -> pd.DataFrame:
        """The instances in the order in which they ended; `selector` has the `foreach` values."""
        rows = [{**one, "state": one["status"], "outputs": sorted(one["outputs"])} for one in self.record["instances"]]
        return pd.DataFrame(rows, columns=INSTANCE_COLUMNS)

    @property
    def scalars(self) -> pd.DataFrame:
        """The numbers that tell of each instance's result in brief."""
        rows = [
            {"instance": one["label"], "stage": one["stage"], "name": name, "value": value}
            for one in self.record["instances"]
            for name, value in (one.get("scalars") or {}).items()
        ]
        return pd.DataFrame(rows, columns=["instance", "stage", "name", "value"])

    @property
    def warnings(self) -> pd.DataFrame:
        """What to beware of."""
        rows = [
            {"instance": one["label"], "warning": warning}
            for one in self.record["instances"]
            for warning in one.get("warnings") or ()
        ]
        return pd.DataFrame(rows, columns=["instance", "warning"])

    @property
    def parameters(self) -> pd.DataFrame:
        """The parameters that the manifest, its profiles and `--set` gave, and where; defaults are not among them."""
        return parameters.of_run(self.program, self.id, self.record["instances"])

    @property
    def metrics(self) -> pd.DataFrame:
        """The metrics of all instances that have an output `metrics` with a table of them, in long form."""
        frames = []
        for one in self.record["instances"]:
            if METRICS not in one["outputs"]:
                continue
            output = outputs.find(f"{one['label']}.{METRICS}", self.record["instances"], self.id)
            if f"{METRICS}.csv" in self.copies.names(output):
                frame = tables.read(self.copies.path(output, f"{METRICS}.csv"), text=METRIC_NAMES)
                frame.insert(0, "instance", one["label"])
                frames.append(frame)
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=METRIC_COLUMNS)

    def table(self, output: str, name: str | None = None, text: tuple[str, ...] | list[str] = ()) -> pd.DataFrame:
        """A CSV file of an output. Identifiers, and the columns in `text`, stay text; an empty cell is missing."""
        return tables.read(self.copies.path(self.find(output), name, ".csv"), text)

    @overload
    def array(self, output: str, item: str | None, name: str) -> Array: ...
    @overload
    def array(self, output: str, item: str | None = None, *, name: str) -> Array: ...
    @overload
    def array(self, output: str, item: str | None = None, name: None = None) -> Array | dict[str, Array]: ...
    def array(self, output: str, item: str | None = None, name: str | None = None) -> Array | dict[str, Array]:
        """A safetensors file of an output: the tensor of that name, the only one, or all by their names."""
        arrays = tensors.read(self.copies.path(self.find(output), item, ".safetensors"), name)
        return next(iter(arrays.values())) if len(arrays) == 1 else arrays

    def arrays(self, output: str, item: str | None = None) -> dict[str, Array]:
        """All tensors of a safetensors file by their names, even where there is only one."""
        return tensors.read(self.copies.path(self.find(output), item, ".safetensors"))

    def files(self, output: str) -> list[str]:
        """The names of an output's files."""
        return self.copies.names(self.find(output))

    def file(self, output: str, name: str | None = None) -> Path:
        """A copy of a file, which is there until Python ends or the run is closed."""
        path = self.copies.path(self.find(output), name)
        self.copies.keep()
        return path

    def read(self, output: str, name: str | None = None) -> bytes:
        """A file's bytes."""
        return self.copies.path(self.find(output), name).read_bytes()

    def text(self, output: str, name: str | None = None) -> str:
        """A file of text, with or without its ending `.txt` in the name."""
        return decoded(self.copies.path(self.find(output), name, ".txt" if name else ""))

    def json(self, output: str, name: str | None = None) -> Any:
        """What a JSON file holds."""
        path = self.copies.path(self.find(output), name, ".json")
        try:
            return json.loads(decoded(path))
        except ValueError as error:
            raise PipeError(f"{path.name} of {output} is no JSON: {error}") from None

    def find(self, output: str) -> outputs.Output:
        """The output of that name."""
        if self.status == "unreadable":
            raise PipeError(f"the record of {self.id} cannot be read: {self.head.get('error')}")
        return outputs.find(output, self.record["instances"], self.id)


def decoded(path: Path) -> str:
    """A file's text."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise PipeError(f"{path.name} is not text in UTF-8", "`run.read` gives its bytes") from None
