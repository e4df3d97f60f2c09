"""Runs that are started from Python."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipe_results as pr
from conftest import PIPELINES, SMALL, Project
from pipe_results import settings


def test_events_are_told_as_they_come_and_kept(project: Project, first: pr.Run) -> None:
    told: list[dict[str, Any]] = []
    again = pr.start(
        project.folder / "pipelines" / "phantom.toml",
        set=SMALL,
        only="train[fold=0]",
        force=["train[fold=0]"],
        jobs=1,
        executor="process",
        keep_going=True,
        verify=True,
        device="cpu",
        cache=project.folder / "another cache",
        on_event=told.append,
    )
    assert told == again.events
    assert {"started", "stage-started", "stage-finished"} <= {event["event"] for event in told}
    assert told[-1]["run"] == again.id
    assert set(again.instances["stage"]) == {"phantom", "crop", "slice", "report", "text-encode", "split", "train"}
    assert first.events[-1]["executed"] == 14


def test_a_profile_is_passed_on(project: Project, first: pr.Run) -> None:
    with pytest.raises(pr.PipeError, match="unknown profile `slow`") as error:
        pr.start(project.folder / "pipelines" / "phantom.toml", profile="slow", cache=project.cache)
    assert error.value.advice is not None
    assert "quick" in error.value.advice


def test_what_is_refused_has_the_programs_words(project: Project, tmp_path: Path) -> None:
    with pytest.raises(pr.PipeError, match="unknown parameter `lx`") as error:
        project.start(train__lx=3)
    assert error.value.message.startswith("--set train.lx=3: ")
    assert error.value.advice is not None
    assert "learning" not in error.value.advice
    assert "lr_schedule" in error.value.advice
    with pytest.raises(pr.PipeError, match="cannot read the manifest"):
        pr.start(tmp_path / "nothing.toml")
    with pytest.raises(pr.PipeError, match="invalid value 'toaster'"):
        pr.start(project.folder / "pipelines" / "phantom.toml", device="toaster")


def test_a_run_that_fails_has_the_reason_the_advice_and_the_run(failure: pr.RunFailed) -> None:
    assert "train[fold=0]: fold 0: epoch 0, training batch 1: the loss is not finite" in failure.message
    assert failure.advice == "lower `lr`, or look for wrong values in the slices"
    assert "help: lower `lr`" in str(failure)
    assert failure.run.status == "failed"
    assert failure.run.events[-1]["status"] == "failed"


def test_a_run_that_came_to_nothing_has_settings_and_no_parameters(tmp_path: Path) -> None:
    dataset = PIPELINES.parent / "dataset_csv" / "sample.csv"
    manifest = tmp_path / "p.toml"
    manifest.write_text(
        f'[stage.report]\ninputs = {{ dataset = "{dataset}" }}\nresources = {{ request_attempts = 1 }}\n'
        'params = { provider = "openai-compatible", base_url = "http://localhost:9/v1", model = "none" }\n'
    )
    with pytest.raises(pr.RunFailed, match="report: item ") as failure:
        pr.start(manifest, set={"report.model": "m"}, cache=tmp_path / "cache")
    run = failure.value.run
    assert run.settings == ['report.model="m"']
    assert run.instances["state"].tolist() == ["failed"]
    assert run.scalars.empty
    assert run.metrics.empty
    with pytest.raises(pr.PipeError, match=r"the parameters of .* are not told"):
        _ = run.parameters


def test_an_interrupt_stops_the_run(project: Project, first: pr.Run) -> None:
    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "stage-started":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pr.start(
            project.folder / "pipelines" / "phantom.toml",
            set={**SMALL, "train.epochs": 1000, "train.es_patience": 1000},
            cache=project.folder / "interrupted",
            on_event=interrupt,
        )
    assert pr.run(cache=project.folder / "interrupted").status == "interrupted"


def test_the_cache_of_the_manifests_project_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tmp_path / "below" / "p.toml"
    manifest.parent.mkdir()
    manifest.write_text('[pipeline]\nroot = ".."\n[stage.phantom]\nparams = { patients = 2 }\n')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.delenv("PIPE_CACHE", raising=False)
    run = pr.start(os.path.relpath(manifest))
    assert run.root is not None
    assert run.root.resolve() == tmp_path.resolve()
    assert pr.run().id == run.id
    manifest.write_text('[pipeline]\nroot = "../aside"\n[stage.phantom]\nparams = { patients = 2 }\n')
    (tmp_path / "aside").mkdir()
    with pytest.raises(pr.PipeError, match="its cache is not found") as error:
        pr.start(manifest)
    assert error.value.advice == "name the cache with cache="


def test_shipped_pipelines_are_written(tmp_path: Path) -> None:
    folder = pr.init(tmp_path / "ein Projekt")
    assert (folder / "pipelines" / "phantom.toml").is_file()
    (tmp_path / "a file").touch()
    with pytest.raises(pr.PipeError, match="ended with exit code"):
        pr.init(tmp_path / "a file")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3e-5, "3e-05"),
        (True, "true"),
        (7, "7"),
        (float("inf"), "inf"),
        ("007", '"007"'),
        ('a "b"\n', '"a \\"b\\"\\n"'),
        (Path("a b") / "ü", '"a b/ü"'),
        ([1, "x", [False]], '[1, "x", [false]]'),
        ({"width": 64, "a.b": {}}, '{"width" = 64, "a.b" = {}}'),
        (np.float64(0.5), "0.5"),
        (np.int32(3), "3"),
        (np.bool_(True), "true"),
        (np.array([1, 2]), "[1, 2]"),
    ],
)
def test_values_are_written_as_toml(value: Any, text: str) -> None:
    assert settings.text(value) == text


def test_a_value_that_toml_does_not_have_is_refused() -> None:
    for value in (None, {1: 2}, object(), b"x"):
        with pytest.raises(pr.PipeError):
            settings.text(value)
