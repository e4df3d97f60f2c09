"""What a run tells of itself."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import pytest

import pipe_results as pr
from conftest import Project


def test_runs_are_listed_newest_first(project: Project, first: pr.Run, failure: pr.RunFailed) -> None:
    listed = pr.runs(cache=project.cache)
    assert [run.status for run in listed] == ["failed", "ok", "ok"]
    assert listed[-1].id == first.id
    assert listed[0].id == failure.run.id
    assert listed[-1].metrics.equals(first.metrics)


def test_a_run_is_found_by_id_by_its_beginning_and_as_the_latest(
    project: Project, first: pr.Run, failure: pr.RunFailed
) -> None:
    assert pr.run(first.id, cache=project.cache).id == first.id
    assert pr.run(first.id[:-1], cache=project.cache).id == first.id
    assert pr.run(cache=project.cache).id == failure.run.id
    with pytest.raises(pr.PipeError, match="there is no run `nothing`") as error:
        pr.run("nothing", cache=project.cache)
    assert error.value.advice == "`pipe runs` lists the runs"
    with pytest.raises(pr.PipeError, match="may be any of"):
        pr.run(first.id[:4], cache=project.cache)


def test_a_run_says_what_it_was(project: Project, first: pr.Run) -> None:
    assert first.status == "ok"
    assert first.pipeline == "phantom"
    assert first.headline is not None
    assert first.headline.startswith("phantom: ensemble AUROC")
    assert first.seconds is not None
    assert first.seconds > 0
    assert first.started is not None
    assert first.started.tzinfo == timezone.utc
    assert first.started <= datetime.now(timezone.utc)
    assert first.manifest == os.fspath(project.folder / "pipelines" / "phantom.toml")
    assert first.root == project.folder
    assert first.seed == 42
    assert "train.epochs=1" in first.settings
    assert first.profiles == []
    assert first.id in repr(first)


def test_instances_have_labels_states_outputs_and_fingerprints(first: pr.Run) -> None:
    instances = first.instances.set_index("label")
    assert list(instances.loc[["train[fold=0]", "train[fold=1]"], "kind"]) == ["train", "train"]
    assert set(instances["state"]) == {"executed"}
    assert instances.loc["evaluate", "outputs"] == ["metrics", "predictions"]
    assert instances.loc["train[fold=1]", "selector"] == {"fold": "1"}
    assert instances["fingerprint"].str.len().eq(64).all()
    assert (instances["seconds"] >= 0).all()


def test_instances_of_a_failed_run_say_why(failure: pr.RunFailed) -> None:
    instances = failure.run.instances.set_index("label")
    assert "the loss is not finite" in str(instances.loc["train[fold=0]", "error"])
    assert instances.loc["evaluate", "state"] == "skipped"
    assert instances.loc["crop", "state"] == "cached"
    assert failure.run.metrics.empty
    assert list(failure.run.metrics.columns) == list(pr.run(cache=failure.run.program.cache).metrics.columns)


def test_metrics_and_scalars_are_long_tables(first: pr.Run) -> None:
    metrics = first.metrics
    assert list(metrics.columns) == ["instance", "dataset", "prediction", "metric", "value", "low", "high"]
    ensemble = metrics.query("prediction == 'ensemble' and metric == 'auroc'")
    assert len(ensemble) == 1
    scalars = first.scalars.set_index(["instance", "name"])["value"]
    assert scalars["evaluate", "auroc"] == ensemble["value"].item()
    assert scalars["train[fold=1]", "epochs"] == 1


def test_warnings_tell_what_to_beware_of(first: pr.Run) -> None:
    assert first.warnings.query("instance == 'evaluate'")["warning"].str.contains("fewer than 10").any()


def test_parameters_have_values_and_origins(first: pr.Run) -> None:
    parameters = first.parameters.set_index(["instance", "name"])
    assert parameters.loc[("train[fold=1]", "epochs"), "value"] == 1
    assert parameters.loc[("train[fold=1]", "epochs"), "origin"] == "--set train.epochs=1"
    assert parameters.loc[("train[fold=1]", "fold"), "value"] == 1
    assert parameters.loc[("train[fold=0]", "lr"), "value"] == 1e-3
    assert parameters.loc[("test-phantom", "shape"), "value"] == [72, 72, 36]


def test_a_failed_run_has_parameters(failure: pr.RunFailed) -> None:
    parameters = failure.run.parameters.query("instance == 'crop'").set_index("name")
    assert parameters.loc["size_mm", "value"] == 60


def test_a_cache_is_found_as_the_program_finds_it(
    project: Project, first: pr.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPE_CACHE", os.fspath(project.cache))
    run = pr.runs()[-1]
    monkeypatch.delenv("PIPE_CACHE")
    monkeypatch.chdir(tmp_path)
    assert run.id == first.id
    assert not run.metrics.empty
    with pytest.raises(pr.PipeError, match="there is no cache in"):
        pr.runs()


def test_a_record_that_cannot_be_read_is_listed_and_says_so(first: pr.Run) -> None:
    run = pr.Run(first.program, {"run": "20200101-000000-000-abc", "error": "it is empty"})
    assert run.status == "unreadable"
    assert run.started is None
    with pytest.raises(pr.PipeError, match="it is empty"):
        run.table("evaluate.predictions")
