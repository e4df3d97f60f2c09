"""Finds round spots of soft tissue in the lung of a CT scan: a stand-in for a real detector, with NumPy alone.

A spot stands out where a small cube is much denser than the shell around it, and that shell is lung.
"""

import argparse
import csv
import gzip
import os

import numpy as np

TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 512: "u2"}


def read_nifti(path):
    """The voxels in HU, indexed x, y, z, and the matrix from indices to millimetres (RAS)."""
    with open(path, "rb") as file:
        bytes_ = file.read()
    if bytes_[:2] == b"\x1f\x8b":
        bytes_ = gzip.decompress(bytes_)
    number = lambda kind, place, count=1: np.frombuffer(bytes_, kind, count, place)
    shape = number("<i2", 42, 3)
    voxels = number("<" + TYPES[int(number("<i2", 70)[0])], int(number("<f4", 108)[0]), int(np.prod(shape)))
    slope, intercept = number("<f4", 112, 2)
    hu = voxels.reshape(shape, order="F").astype("f4") * (slope or 1) + intercept
    return hu, number("<f4", 280, 12).reshape(3, 4).astype("f8")


def box_mean(values, radius):
    """The mean of a box around each voxel, by sums along each axis in turn; what lies outside is the nearest voxel."""
    for axis, reach in enumerate(radius):
        width = [(0, 0)] * 3
        width[axis] = (reach + 1, reach)
        sums = np.cumsum(np.pad(values, width, mode="edge"), axis=axis, dtype="f8")
        length = values.shape[axis]
        upper = np.take(sums, range(2 * reach + 1, 2 * reach + 1 + length), axis=axis)
        values = (upper - np.take(sums, range(length), axis=axis)) / (2 * reach + 1)
    return values


def spots(hu, spacing, most):
    """Indices and contrasts of the spots that stand out most, none within 15 mm of a better one."""
    inner, outer = ([max(1, round(mm / step)) for step in spacing] for mm in (4.0, 10.0))
    small, large = box_mean(hu, inner), box_mean(hu, outer)
    share = np.prod([2 * i + 1 for i in inner]) / np.prod([2 * o + 1 for o in outer])
    shell = (large - share * small) / (1 - share)
    contrast = np.where((shell < -600) & (shell > -950), small - shell, 0)
    found = []
    while len(found) < most and contrast.max() > 150:
        place = np.unravel_index(np.argmax(contrast), contrast.shape)
        found.append((place, float(contrast[place])))
        near = [slice(max(0, p - round(15 / s)), p + round(15 / s) + 1) for p, s in zip(place, spacing)]
        contrast[tuple(near)] = 0
    return found


def tell(text):
    """Tells pipe how far the work is; nobody listens when the script is run by hand."""
    if path := os.environ.get("PIPE_PROGRESS"):
        with open(path, "a") as file:
            print(f"pipe: {text}", file=file)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan")
    parser.add_argument("--pid", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--most", type=int, default=3)
    arguments = parser.parse_args()
    hu, affine = read_nifti(arguments.scan)
    spacing = np.linalg.norm(affine[:, :3], axis=0)
    found = spots(hu, spacing, arguments.most)
    if not found:
        tell(f"warning nothing found in the scan of {arguments.pid}")
    with open(arguments.out, "w", newline="") as file:
        writer = csv.writer(file)
        # The path that the stage was given leads on, to the stages that read this table.
        writer.writerow(["pid", "nodule_id", "image_path", "coordX", "coordY", "coordZ", "contrast"])
        for number, (place, contrast) in enumerate(found, start=1):
            x, y, z = affine @ [*place, 1]
            row = [f"{-x:.2f}", f"{-y:.2f}", f"{z:.2f}", f"{contrast:.1f}"]
            writer.writerow([arguments.pid, number, arguments.scan, *row])


if __name__ == "__main__":
    main()
