"""What differs between two runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pipe_results as pr
from conftest import Project


def test_tables_tell_what_differs(first: pr.Run, second: pr.Run) -> None:
    comparison = pr.compare(first, second)
    parameters = comparison.parameters
    assert set(parameters["instance"]) == {"train[fold=0]", "train[fold=1]"}
    for name, value in {"stage": "train", "name": "lr", "before": 1e-3, "after": 5e-4}.items():
        assert set(parameters[name]) == {value}
    states = comparison.instances.set_index("instance")
    assert set(comparison.instances["before"]) == set(comparison.instances["after"]) == {"executed"}
    assert str(states.loc["train[fold=0]", "causes"]).startswith("['train.lr 0.001 → ")
    loss = comparison.scalars.query("name == 'best_validation_loss'")
    assert loss["difference"].equals(loss["after"] - loss["before"])
    assert set(loss["instance"]) == {"train[fold=0]", "train[fold=1]"}
    manifest = comparison.settings.query("what == 'manifest'")
    assert manifest[["name", "before", "after"]].values.tolist() == [["stage.train.params.lr", 1e-3, 5e-4]]
    assert {"AUROC of ensemble"} <= set(comparison.tests["name"])
    assert (comparison.tests["low"] <= comparison.tests["difference"]).all()
    assert first.id in repr(comparison)


def test_metrics_are_side_by_side(first: pr.Run, second: pr.Run) -> None:
    metrics = pr.compare(first, second).metrics
    names = ["instance", "dataset", "prediction", "metric"]
    assert metrics[names].equals(first.metrics[names])
    assert np.array_equal(metrics["before"], first.metrics["value"], equal_nan=True)
    assert np.array_equal(metrics["after"], second.metrics["value"], equal_nan=True)
    assert np.array_equal(metrics["difference"], metrics["after"] - metrics["before"], equal_nan=True)


def test_runs_may_be_given_by_their_ids(project: Project, first: pr.Run, second: pr.Run) -> None:
    comparison = pr.compare(first.id, second.id, cache=project.cache)
    assert (comparison.first.id, comparison.second.id) == (first.id, second.id)


def test_a_run_compared_with_itself_or_with_a_failed_one(first: pr.Run, failure: pr.RunFailed) -> None:
    same = pr.compare(first, first)
    assert same.instances.empty
    assert same.parameters.empty
    assert (same.metrics["difference"].dropna() == 0).all()
    failed = pr.compare(first, failure.run)
    assert failed.instances.set_index("instance").loc["evaluate", "after"] == "skipped"
    assert failed.metrics["after"].isna().all()


def test_a_run_that_is_not_in_the_cache_is_told(project: Project, first: pr.Run, tmp_path: Path) -> None:
    with pytest.raises(pr.PipeError, match="there is no run `nothing`"):
        pr.compare(first, "nothing")
