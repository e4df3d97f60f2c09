"""Runs that are started from Python: `pipe run --json`, whose events come one a line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pipe_results.errors import PipeError, RunFailed, of_problems
from pipe_results.program import PathText, Program, environment, find, unexpected
from pipe_results.runs import Run, shown
from pipe_results.settings import arguments as set_arguments

Event = dict[str, Any]


def start(
    manifest: PathText,
    *,
    set: Mapping[str, Any] | None = None,
    profile: str | Iterable[str] = (),
    only: str | Iterable[str] = (),
    force: str | Iterable[str] = (),
    keep_going: bool = False,
    jobs: int | None = None,
    device: str | None = None,
    executor: str | None = None,
    verify: bool = False,
    sign: PathText | None = None,
    cache: PathText | None = None,
    pipe: PathText | None = None,
    on_event: Callable[[Event], object] | None = None,
) -> Run:
    """Runs a pipeline to its end and gives the run, whose `events` are all that was told on the way.

    The options are those of `pipe run`; `on_event` is called with each event as it comes. What the program refuses is
    a `PipeError` with its words, a run that fails is a `RunFailed` that has the run, and an interrupt stops the run.
    """
    options = [*set_arguments(set), *repeated("--profile", profile), *repeated("--only", only)]
    options += repeated("--force", force)
    options += [flag for flag, is_given in (("--keep-going", keep_going), ("--verify", verify)) if is_given]
    for name, value in (("--jobs", jobs), ("--device", device), ("--executor", executor), ("--sign", sign)):
        options += [] if value is None else [name, str(value)]
    program = Program.at(cache, pipe)
    command = program.command("run", os.fspath(manifest), "--json", *options)
    events: list[Event] = []

    def tell(event: Event) -> None:
        events.append(event)
        if on_event is not None:
            on_event(event)

    code, told = follow(command, program.folder, tell)
    ended = events[-1] if events and events[-1].get("event") == "finished" else None
    if ended is None:
        raise unexpected(command, code, told)
    if ended["run"] is None:
        raise of_problems([problem for event in events for problem in event.get("problems", ())])
    return finished(reader(program, manifest), ended, events)


def repeated(flag: str, values: str | Iterable[str]) -> list[str]:
    """An option for each of its values."""
    return [part for value in ([values] if isinstance(values, str) else values) for part in (flag, value)]


def follow(command: list[str], folder: Path, on_event: Callable[[Event], object]) -> tuple[int, str]:
    """Runs a command, tells its events, and gives its exit code and what it wrote besides."""
    with tempfile.TemporaryFile() as aside:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=aside,
            encoding="utf-8",
            errors="replace",
        )
        assert process.stdout is not None
        with process.stdout:
            try:
                for line in process.stdout:
                    on_event(event_of(line))
                code = process.wait()
            except BaseException:
                process.send_signal(signal.SIGINT)
                process.wait()
                raise
        aside.seek(0)
        return code, aside.read().decode("utf-8", "replace")


def event_of(line: str) -> Event:
    """One event."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise PipeError(f"the program told something that is no event: {line.strip()}")
    return event


def reader(program: Program, manifest: PathText) -> Program:
    """The program as it finds the run: in the cache that was named, or in that of the manifest's project."""
    if program.cache is not None:
        return program
    return Program(program.executable, None, Path(manifest).absolute().parent)


def finished(program: Program, ended: Event, events: list[Event]) -> Run:
    """The run that has ended, or the error that tells how."""
    try:
        run = shown(program, str(ended["run"]))
    except PipeError as error:
        raise PipeError(
            f"the run {ended['run']} has ended ({ended['status']}), and its cache is not found: {error.message}",
            "name the cache with cache=",
        ) from error
    run.events = events
    if ended["status"] == "ok":
        return run
    failures = [event for event in events if event.get("event") == "stage-failed"]
    sentences = [f"{event['stage']}: {event['error']}" for event in failures]
    advice = list(dict.fromkeys(event["advice"] for event in failures if event.get("advice")))
    message = "\n  ".join([f"the run {run.id} has {worded(ended['status'])}", *sentences])
    raise RunFailed(message, "\n".join(advice) or None, run)


def worded(status: str) -> str:
    """A status in a sentence."""
    return "been interrupted" if status == "interrupted" else status


def init(folder: PathText = ".", pipe: PathText | None = None) -> Path:
    """Writes the shipped pipelines into a folder, to start from."""
    command = [os.fspath(find(pipe)), "init", os.fspath(folder)]
    done = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        raise unexpected(command, done.returncode, done.stderr.decode("utf-8", "replace"))
    return Path(folder)
