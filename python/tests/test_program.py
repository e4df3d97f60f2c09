"""Finding the program, and what becomes of an answer that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

import pipe_results as pr


def stand_in(folder: Path, script: str) -> Path:
    path = folder / "stand in"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_program_that_is_not_there_is_told_with_where_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(pr.ProgramNotFound, match="that `pipe=` names is not there") as error:
        pr.runs(pipe=tmp_path / "pipe")
    assert error.value.advice is not None
    assert "PATH" in error.value.advice
    monkeypatch.setenv("PIPE", str(tmp_path / "pipe"))
    with pytest.raises(pr.ProgramNotFound, match="environment variable PIPE"):
        pr.start("p.toml")
    monkeypatch.delenv("PIPE")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pr.ProgramNotFound, match="the program `pipe` is not there"):
        pr.run()


def test_the_program_is_found_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, 'echo \'{"version": 1, "runs": []}\'').rename(tmp_path / "pipe")
    monkeypatch.delenv("PIPE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert pr.runs() == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('echo \'{"version": 9, "runs": []}\'', "answers in version 9"),
        ("echo none; echo reason >&2; exit 4", "ended with exit code 4: reason"),
        ("echo '[]'", "ended with exit code 0 and said nothing"),
        ("kill -9 $$", "was ended by signal 9"),
        ("echo '{\"version\": 1}'; exit 1", "ended with exit code 1"),
    ],
)
def test_an_answer_that_is_none_is_told(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(pr.PipeError, match=message):
        pr.runs(pipe=stand_in(tmp_path, script))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('echo \'{"event": "started"}\'; kill -9 $$', "was ended by signal 9"),
        ("echo something; sleep 0.1", "no event: something"),
    ],
)
def test_events_that_break_off_are_told(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(pr.PipeError, match=message):
        pr.start("p.toml", pipe=stand_in(tmp_path, script))
