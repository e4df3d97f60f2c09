"""Why something cannot be done, in the program's own words, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipe_results.runs import Run


class PipeError(Exception):
    """Something cannot be done. `message` says what, `advice` what to do, `choices` what could be named instead."""

    def __init__(self, message: str, advice: str | None = None, choices: Iterable[str] = ()) -> None:
        """An error of one sentence, with the next step where there is one."""
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.choices = tuple(choices)

    def __str__(self) -> str:
        """The message, with the advice on a line of its own."""
        return self.message if not self.advice else f"{self.message}\n  help: {self.advice}"


class ProgramNotFound(PipeError):
    """The program `pipe` is not there, or cannot be started."""


class RunFailed(PipeError):
    """A run ended without all of its results. `run` tells how far it came."""

    def __init__(self, message: str, advice: str | None, run: Run) -> None:
        """An error of a run that has a record."""
        super().__init__(message, advice)
        self.run = run


def of_problems(problems: list[Mapping[str, Any]]) -> PipeError:
    """The error that the program's `problems` tell."""
    sentences = []
    advice: list[str] = []
    for problem in problems:
        place, message, help_ = (problem.get(name) for name in ("place", "message", "help"))
        sentences.append(f"{place}: {message}" if place else str(message))
        if help_ and help_ not in advice:
            advice.append(str(help_))
    return PipeError("\n".join(sentences), "\n".join(advice) or None)
