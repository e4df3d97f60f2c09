"""Safetensors files as NumPy arrays: a header in JSON that says where each tensor's bytes are, then the bytes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from pipe_results.errors import PipeError

Array = npt.NDArray[Any]

DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "BF16": "<u2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
}

LONGEST_HEADER = 100_000_000
"""What the format allows."""


def read(path: Path, name: str | None = None) -> dict[str, Array]:
    """The tensors of a file, or the one of that name."""
    with path.open("rb") as file:
        size = path.stat().st_size
        header, start = read_header(file, size, path)
        if name is not None and name not in header:
            known = sorted(header)
            raise PipeError(f"{path.name} has no tensor `{name}`", f"its tensors are {', '.join(known)}", choices=known)
        wanted = sorted(header) if name is None else [name]
        return {one: tensor(file, header[one], start, size, f"{path.name}: tensor `{one}`") for one in wanted}


def read_header(file: BinaryIO, size: int, path: Path) -> tuple[dict[str, Any], int]:
    """What a file says of its tensors, and where their bytes begin."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, LONGEST_HEADER):
        raise PipeError(f"{path.name} is no safetensors file: its header does not fit into it")
    try:
        header = json.loads(file.read(length))
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise PipeError(f"{path.name} is no safetensors file: its header is no JSON object")
    header.pop("__metadata__", None)
    return header, 8 + length


def tensor(file: BinaryIO, entry: Any, start: int, size: int, what: str) -> Array:
    """One tensor. bfloat16, which NumPy does not have, becomes float32, which holds each of its values."""
    try:
        kind, shape = str(entry["dtype"]), [int(length) for length in entry["shape"]]
        begin, end = (int(offset) for offset in entry["data_offsets"])
    except (TypeError, KeyError, ValueError):
        raise PipeError(f"{what} is not described as safetensors does") from None
    if kind not in DTYPES:
        raise PipeError(f"{what} has the type {kind}, which is not read", f"types are {', '.join(DTYPES)}")
    dtype = np.dtype(DTYPES[kind])
    is_whole = 0 <= begin <= end <= size - start and min(shape, default=0) >= 0
    if not is_whole or end - begin != math.prod(shape) * dtype.itemsize:
        raise PipeError(f"{what}: its shape and its place in the file disagree")
    file.seek(start + begin)
    values = np.frombuffer(bytearray(file.read(end - begin)), dtype)
    if kind == "BF16":
        values = (values.astype("<u4") << 16).view("<f4")
    return values.reshape(shape)
