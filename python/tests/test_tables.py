"""CSV files say what they say."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pipe_results as pr
from conftest import PIPELINES
from pipe_results import tables


def read(tmp_path: Path, text: str, keep: tuple[str, ...] = ()) -> pd.DataFrame:
    path = tmp_path / "table.csv"
    path.write_text(text, "utf-8")
    return tables.read(path, keep)


def values(column: pd.Series) -> list[object]:
    return [None if pd.isna(value) else value for value in column]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "20", "-3"], [1, 20, -3]),
        (["0.1", "1e-7", "-2"], [0.1, 1e-7, -2.0]),
        (["0.30000000000000004", "1", "NaN"], [0.30000000000000004, 1.0, None]),
        (["1", "", "0"], [1.0, None, 0.0]),
        (["007", "8", "12"], ["007", "8", "12"]),
        (["12345678901234567890", "1", "2"], ["12345678901234567890", "1", "2"]),
        (["NA", "None", ""], ["NA", "None", None]),
        (["+1", "1.", "1"], ["+1", "1.", "1"]),
        (["1.2.840.113619", "1.2", "1"], ["1.2.840.113619", "1.2", "1"]),
        (["Größe", "a, b", " "], ["Größe", "a, b", " "]),
    ],
)
def test_cells_become_what_is_written(tmp_path: Path, cells: list[str], expected: list[object]) -> None:
    text = "x,y\n" + "".join(f'"{cell}",1\n' if cell else ",1\n" for cell in cells)
    assert values(read(tmp_path, text)["x"]) == expected


def test_identifiers_stay_text_and_others_do_where_asked(tmp_path: Path) -> None:
    table = read(tmp_path, "pid,nodule_id,PID,age\n12,0,7,60\n", ("age",))
    assert table.iloc[0].tolist() == ["12", "0", "7", "60"]


def test_whole_numbers_are_whole_where_none_is_missing(tmp_path: Path) -> None:
    table = read(tmp_path, "a,b,c\n1,1,\n2,,\n")
    assert [table[name].dtype for name in "abc"] == [np.int64, np.float64, np.float64]


def test_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    assert list(read(tmp_path, "pid,value\n").columns) == ["pid", "value"]


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2,3,4\n5,6\n7,8,9,10,11\n", b"a\n\xff\xfe\n"])
def test_what_is_no_table_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    with pytest.raises(pr.PipeError, match=r"table\.csv is no table"):
        tables.read(path)


def test_leading_zeros_of_patients_come_through_a_run(tmp_path: Path) -> None:
    sample = PIPELINES.parent / "dataset_csv" / "sample.csv"
    rows = list(csv.reader(sample.read_text("utf-8").splitlines()))
    for number, row in enumerate(rows[1:]):
        row[0] = f"{number:03}"
    dataset = tmp_path / "ein Ordner für 0" / "nodules.csv"
    dataset.parent.mkdir()
    with dataset.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    settings = {"dataset": dataset, "results": tmp_path / "results", "split.n_splits": 2}
    run = pr.start(PIPELINES / "sample.toml", set=settings, cache=tmp_path / "cache")
    folds = [run.table("split.splits", f"fold_0/{part}_pid.csv") for part in ("train", "val")]
    assert sorted(pd.concat(folds)["pid"]) == [f"{number:03}" for number in range(len(rows) - 1)]
    assert run.text("report", "007_0")
