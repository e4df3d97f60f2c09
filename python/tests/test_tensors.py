"""Safetensors files as arrays."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipe_results as pr
from pipe_results import tensors


def write(path: Path, header: Any, data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize("kind", [kind for kind in tensors.DTYPES if kind != "BF16"])
def test_each_type_is_read(tmp_path: Path, kind: str) -> None:
    written = np.array([[0, 1, 2], [3, 4, 5]]).astype(tensors.DTYPES[kind])
    header = {"__metadata__": {"a": "b"}, "x": entry(kind, [2, 3], 0, written.nbytes)}
    read = tensors.read(write(tmp_path / "x.safetensors", header, written.tobytes()))
    assert list(read) == ["x"]
    assert read["x"].dtype == written.dtype
    assert np.array_equal(read["x"], written)
    read["x"][0, 0] = 1


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    data = np.array([0x3F80, 0xC000, 0x7F80], "<u2").tobytes()
    read = tensors.read(write(tmp_path / "x.safetensors", {"x": entry("BF16", [3], 0, 6)}, data))
    assert read["x"].tolist() == [1.0, -2.0, np.inf]


def test_one_tensor_of_several_is_read_alone(tmp_path: Path) -> None:
    header = {"a": entry("U8", [], 0, 1), "b": entry("U8", [0], 1, 1), "c": entry("F8_E4M3", [1], 1, 2)}
    path = write(tmp_path / "x.safetensors", header, b"\x05\x00")
    assert tensors.read(path, "a")["a"] == 5
    assert tensors.read(path, "b")["b"].shape == (0,)
    with pytest.raises(pr.PipeError, match="has the type F8_E4M3, which is not read"):
        tensors.read(path)
    with pytest.raises(pr.PipeError, match="no tensor `d`"):
        tensors.read(path, "d")


@pytest.mark.parametrize(
    "entry",
    [
        entry("F32", [2], 0, 4),
        entry("F32", [1], 4, 8),
        entry("F32", [1], -4, 0),
        entry("F32", [-1, -1], 0, 4),
        {"dtype": "F32"},
        {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]},
        "F32",
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, entry: Any) -> None:
    with pytest.raises(pr.PipeError, match="tensor `x`"):
        tensors.read(write(tmp_path / "x.safetensors", {"x": entry}, b"\x00" * 4))


@pytest.mark.parametrize("data", [b"", b"\x01", b"\xff" * 8, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 1) + b"{"])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(pr.PipeError, match="is no safetensors file"):
        tensors.read(path)
