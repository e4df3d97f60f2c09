"""The program `pipe`, asked by its command line and answering in JSON. Nothing here knows how a cache looks inside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from pipe_results.errors import PipeError, ProgramNotFound, of_problems

VERSION = 1
"""The version of the program's answers that this package reads."""

PathText = str | PathLike[str]


def find(pipe: PathText | None = None) -> Path:
    """The program: as it is given, or as the environment variable PIPE names it, or on PATH."""
    named = os.fspath(pipe) if pipe is not None else os.environ.get("PIPE") or "pipe"
    found = shutil.which(named)
    if found is not None:
        return Path(found).absolute()
    if pipe is not None:
        origin = " that `pipe=` names"
    elif os.environ.get("PIPE"):
        origin = " that the environment variable PIPE names"
    else:
        origin = ""
    raise ProgramNotFound(
        f"the program `{named}`{origin} is not there, or may not be executed",
        "build it with `cargo build --release`; then name it with pipe= or PIPE, or put it on PATH",
    )


@dataclass(frozen=True)
class Program:
    """The program with a place from which it looks for its cache, which stays when the current folder changes."""

    executable: Path
    cache: Path | None
    folder: Path

    @staticmethod
    def at(cache: PathText | None = None, pipe: PathText | None = None, folder: PathText = ".") -> Program:
        """The program for a cache, or for the one that it finds from a folder."""
        named = os.fspath(cache) if cache is not None else os.environ.get("PIPE_CACHE")
        return Program(
            executable=find(pipe),
            cache=Path(named).expanduser().absolute() if named else None,
            folder=Path(folder).absolute(),
        )

    def command(self, *arguments: str) -> list[str]:
        """A command line with this cache."""
        cache = [] if self.cache is None else ["--cache", os.fspath(self.cache)]
        return [os.fspath(self.executable), *arguments, *cache]

    def answer(self, *arguments: str) -> dict[str, Any]:
        """The JSON object with which the program answers a command."""
        command = self.command(*arguments, "--json")
        done = subprocess.run(
            command, cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        printed, told = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        try:
            value = json.loads(printed)
        except ValueError:
            raise unexpected(command, done.returncode, told) from None
        if not isinstance(value, dict):
            raise unexpected(command, done.returncode, told)
        if value.get("version") != VERSION:
            raise PipeError(
                f"{self.executable} answers in version {value.get('version')}, this package reads version {VERSION}",
                "use a version of pipe-results that is as new as the program",
            )
        if value.get("problems") and done.returncode != 0:
            raise of_problems(value["problems"])
        if done.returncode != 0:
            raise unexpected(command, done.returncode, told)
        return value


def environment() -> dict[str, str]:
    """The environment in which the program prints no colours."""
    return {**os.environ, "NO_COLOR": "1"}


def unexpected(command: Sequence[str], code: int, told: str) -> PipeError:
    """The error of a program that ended without an answer."""
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    told = told.strip()
    return PipeError(f"`{' '.join(command)}` {how}" + (f": {told}" if told else " and said nothing"))
