"""Outputs of real runs by their names."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pipe_results as pr
from pipe_results.outputs import split_name


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_labels_and_outputs_are_told_apart() -> None:
    for text, name, output in [
        ("train", "train", None),
        ("train.model", "train", "model"),
        ("train[lr=0.001]", "train[lr=0.001]", None),
        ("train[lr=0.001].model", "train[lr=0.001]", "model"),
    ]:
        assert split_name(text) == (name, output)


def test_a_table_is_that_of_the_output(first: pr.Run) -> None:
    predictions = first.table("evaluate.predictions")
    assert {"pid", "nodule_id", "raw_0", "raw_1", "ensemble", "malignant"} <= set(predictions.columns)
    assert predictions["ensemble"].between(0, 1).all()
    assert predictions["malignant"].dtype == np.int64
    assert all(isinstance(value, str) for value in predictions["nodule_id"])
    mean = predictions[["raw_0", "raw_1"]].mean(axis="columns")
    assert np.allclose(predictions["ensemble"], mean, atol=1e-6)


def test_missing_values_are_missing_and_words_are_not(first: pr.Run) -> None:
    dataset = first.table("phantom.dataset")
    margins = dataset["nodule_margins"]
    assert margins.isna().any()
    assert set(margins.dropna()) <= {"Smooth", "Lobulated", "Spiculated/Serrated"}
    assert dataset["coordX"].dtype == np.float64


def test_an_instance_of_several_is_named_by_its_label(first: pr.Run) -> None:
    history = first.table("train[fold=1].model", "history.csv")
    assert list(history["epoch"]) == [0]
    assert "model.json" in first.files("train[fold=1].model")
    patients = first.table("split.splits", "fold_1/train_pid")
    assert isinstance(patients["pid"].iloc[0], str)


def test_a_name_that_may_mean_several_lists_them(first: pr.Run) -> None:
    with pytest.raises(pr.PipeError, match="2 instances") as error:
        first.table("train.model", "history.csv")
    assert sorted(error.value.choices) == ["train[fold=0].model", "train[fold=1].model"]
    with pytest.raises(pr.PipeError, match="several outputs") as error:
        first.files("evaluate")
    assert error.value.choices == ("evaluate.metrics", "evaluate.predictions")
    with pytest.raises(pr.PipeError, match=r"3 \.csv files") as error:
        first.table("evaluate.metrics")
    assert "metrics.csv" in error.value.choices
    with pytest.raises(pr.PipeError, match=r"no \.json files"):
        first.json("evaluate.predictions")


def test_an_unknown_name_lists_what_there_is(first: pr.Run) -> None:
    with pytest.raises(pr.PipeError, match="no output `prediction`") as error:
        first.table("evaluate.prediction")
    assert error.value.choices == ("metrics", "predictions")
    assert "metrics, predictions" in str(error.value)
    with pytest.raises(pr.PipeError, match="no stage or instance `evalute`") as error:
        first.table("evalute.predictions")
    assert "evaluate" in error.value.choices
    with pytest.raises(pr.PipeError) as error:
        first.table("train[fold=7].model")
    assert "train[fold=0].model" in error.value.choices
    with pytest.raises(pr.PipeError, match="no file `nobody`") as error:
        first.array("slice.slices", "nobody")
    assert "train-0000_0.safetensors" in error.value.choices


def test_what_a_failed_run_did_not_reach_says_why(failure: pr.RunFailed) -> None:
    with pytest.raises(pr.PipeError, match=r"for it failed: fold 0: .*the loss is not finite"):
        failure.run.files("train[fold=0].model")
    with pytest.raises(pr.PipeError, match="for it was skipped: another stage failed"):
        failure.run.table("evaluate.predictions")
    assert failure.run.array("slice", "train-0000_0", "planes").shape == (9, 60, 60)


def test_arrays_are_those_of_an_item(first: pr.Run) -> None:
    planes = first.array("slice.slices", "train-0000_0")
    assert isinstance(planes, np.ndarray)
    assert planes.dtype == np.float32
    assert planes.shape == (9, 60, 60)
    assert planes.min() >= 0
    assert planes.max() <= 1
    assert list(first.arrays("slice", "train-0000_0.safetensors")) == ["planes"]
    model = first.array("train[fold=0].model", "best_both")
    assert isinstance(model, dict)
    bias = first.array("train[fold=0].model", "best_both", name="classifier_image.bias")
    assert np.array_equal(model["classifier_image.bias"], bias)
    with pytest.raises(pr.PipeError, match="no tensor `plane`") as error:
        first.array("slice", "train-0000_0", "plane")
    assert error.value.choices == ("planes",)


def test_text_json_and_bytes(first: pr.Run) -> None:
    assert first.text("report", "train-0000_0").startswith("Findings:")
    assert first.text("evaluate.predictions").startswith("pid,")
    assert first.json("calibrate[fold=1]")["checkpoint"] == "best_both"
    assert first.json("evaluate.metrics", "metrics.json")["dataset"]["phantom"]["ensemble"]["auroc"]
    assert first.read("phantom.dataset", "scans/train-0000.nii.gz")[:2] == b"\x1f\x8b"
    with pytest.raises(pr.PipeError, match="is not text in UTF-8"):
        first.text("phantom.dataset", "scans/train-0000.nii.gz")
    with pytest.raises(pr.PipeError, match="is no JSON"):
        first.json("evaluate.predictions", "predictions.csv")


def test_copies_go_with_the_run_and_a_path_that_was_given_stays(first: pr.Run, temporary: Path) -> None:
    def again() -> pr.Run:
        return pr.run(first.id, cache=first.program.cache)

    assert not again().table("evaluate.predictions").empty
    gc.collect()
    assert list(temporary.iterdir()) == []
    path = again().file("train[fold=0].model", "history.csv")
    gc.collect()
    assert not pd.read_csv(path).empty
    with again() as run:
        beside = run.file("evaluate.predictions")
        assert beside.is_file()
    assert not beside.exists()
    assert path.exists()
    assert run.table("evaluate.predictions").shape[0] > 0
    run.close()


def test_values_in_brackets_may_hold_dots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tmp_path / "p.toml"
    manifest.write_text("[stage.phantom]\nforeach = { signal = [0.5, 1.5] }\nparams = { patients = 2 }\n")
    monkeypatch.chdir(manifest.parent.parent)
    run = pr.start(manifest)
    assert sorted(run.parameters.query("name == 'signal'")["value"]) == [0.5, 1.5]
    assert run.json("phantom[signal=0.5].truth")["nodules"] >= 2
    assert len(run.table("phantom[signal=1.5].dataset")) >= 2
    with pytest.raises(pr.PipeError, match="2 instances"):
        run.table("phantom.dataset")
