"""Outputs by the names that people give them, and copies of their files, which the program makes and checks.

`train[fold=0].model` is an output of an instance, `train.model` of a stage with one instance, and `slice` of a stage
with one output.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pipe_results.errors import PipeError
from pipe_results.program import Program

MOST_CHOICES = 20
"""So many names are told where one is wrong; all are in the error's `choices`."""


@dataclass(frozen=True)
class Output:
    """An output of an instance. Its copy lies below a folder for each of the instance's `foreach` values."""

    label: str
    name: str
    depth: int

    def __str__(self) -> str:
        """The name by which `pipe get` knows it."""
        return f"{self.label}.{self.name}"


def split_name(text: str) -> tuple[str, str | None]:
    """A stage or label, and the output behind it. A value in brackets may hold dots, a stage's name holds none."""
    dot = text.find(".", text.rfind("]") + 1)
    return (text, None) if dot < 0 else (text[:dot], text[dot + 1 :])


def find(text: str, instances: Sequence[dict[str, Any]], run: str) -> Output:
    """The one output that is meant among the instances of a run."""
    name, output = split_name(text)
    instance = find_instance(name, output, instances, run)
    known = sorted(instance.get("outputs") or {})
    label = str(instance["label"])
    if not known:
        raise PipeError(f"{label} has no outputs in {run}, for {fate(instance)}")
    if output is None and len(known) == 1:
        output = known[0]
    if output is None:
        choices = [f"{label}.{one}" for one in known]
        raise PipeError(f"`{text}` has several outputs", f"name one: {listed(choices)}", choices)
    if output not in known:
        raise PipeError(f"{label} has no output `{output}` in {run}", f"outputs: {listed(known)}", known)
    return Output(label, output, len(instance.get("selector") or {}))


def find_instance(name: str, output: str | None, instances: Sequence[dict[str, Any]], run: str) -> dict[str, Any]:
    """The one instance with that label, or of the stage of that name."""
    meant = [one for one in instances if name in (one["label"], one["stage"])]
    if len(meant) == 1:
        return meant[0]
    behind = "" if output is None else f".{output}"
    stage = name.partition("[")[0]
    of_stage = [f"{one['label']}{behind}" for one in instances if one["stage"] == stage]
    if meant:
        message = f"`{name}` has {len(meant)} instances in {run}"
        raise PipeError(message, f"name one: {listed(of_stage)}", of_stage)
    choices = of_stage or sorted({str(one["stage"]) for one in instances})
    advice = f"there are {listed(choices)}" if choices else "it came to no stage's end: run the pipeline again"
    raise PipeError(f"{run} has no stage or instance `{name}`", advice, choices)


def fate(instance: dict[str, Any]) -> str:
    """What became of an instance without outputs."""
    state = str(instance["status"])
    word = {"failed": "it failed", "skipped": "it was skipped"}.get(state, f"it is {state}")
    reason = instance.get("error")
    return f"{word}: {reason}" if reason else word


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, the first of many."""
    more = len(names) - MOST_CHOICES
    return ", ".join(names[:MOST_CHOICES]) + (f" and {more} more" if more > 0 else "")


class Copies:
    """Copies of a run's outputs in a temporary folder, each made when it is first asked for.

    The folder goes with the object, or when Python ends where somebody was given the path of a file in it.
    """

    kept: ClassVar[list[Copies]] = []

    def __init__(self, program: Program, run: str) -> None:
        """No copies yet."""
        self.program = program
        self.run = run
        self.folders: dict[Output, Path] = {}
        self.remove: weakref.finalize[Any, Any] | None = None
        self.root = Path()

    def folder(self, output: Output) -> Path:
        """The folder with the files of an output."""
        if output not in self.folders:
            if self.remove is None or not self.remove.alive:
                self.root = Path(tempfile.mkdtemp(prefix="pipe-results-"))
                self.remove = weakref.finalize(self, shutil.rmtree, self.root, ignore_errors=True)
            to = self.root / str(len(self.folders))
            self.program.answer("get", self.run, str(output), "--to", str(to))
            self.folders[output] = below(to, output.depth)
        return self.folders[output]

    def names(self, output: Output) -> list[str]:
        """The names of an output's files, with slashes in those of files in folders."""
        folder = self.folder(output)
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    def path(self, output: Output, name: str | None, ending: str = "") -> Path:
        """A file by its name, with or without its ending, or the only one with that ending."""
        names = self.names(output)
        of_ending = [one for one in names if one.endswith(ending)]
        if name is None and len(of_ending) == 1:
            return self.folder(output) / of_ending[0]
        if name is None:
            what = f"{ending} files" if ending else "files"
            raise PipeError(
                f"{output} has {len(of_ending) or 'no'} {what}", f"name one: {listed(of_ending or names)}", names
            )
        for candidate in (name, name + ending):
            if candidate in names:
                return self.folder(output) / candidate
        raise PipeError(f"{output} has no file `{name}`", f"its files are {listed(names)}", names)

    def keep(self) -> None:
        """Lets the folder live until Python ends, for somebody has the path of a file in it."""
        if self not in Copies.kept:
            Copies.kept.append(self)

    def close(self) -> None:
        """Removes all copies now."""
        if self.remove is not None:
            self.remove()
        self.folders.clear()
        if self in Copies.kept:
            Copies.kept.remove(self)


def below(folder: Path, depth: int) -> Path:
    """The folder so many folders down, each of which is the only one in its parent."""
    for _ in range(depth):
        inner = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
        folder = inner[0] if len(inner) == 1 else folder
    return folder
