"""Compares exported volumes: FOLDER/crop-nii by nibabel with FOLDER/crop-pt by PyTorch, and with the scans of FOLDER/phantom.

    python3 read_volumes.py FOLDER

The middle voxel of an exact crop lies on the nodule's point; scans are sampled there by the affines that nibabel reads.
"""

import csv
import sys
from pathlib import Path

import nibabel
import numpy
import torch

folder = Path(sys.argv[1])
with open(folder / "phantom/dataset.csv", newline="") as table:
    rows = list(csv.DictReader(table))
for row in rows:
    name = f"{row['pid']}_{row['nodule_id']}"
    image = nibabel.load(folder / f"crop-nii/{name}.nii.gz")
    voxels = image.get_fdata()
    tensor = torch.load(folder / f"crop-pt/{name}.pt")
    assert tensor.dtype == torch.float32 and tuple(tensor.shape) == (21, 21, 21), tensor.shape
    # The tensor's axes are z, y, x.
    assert numpy.array_equal(voxels, numpy.transpose(tensor.numpy(), (2, 1, 0)).astype(float)), name
    centre = numpy.array([float(row[f"coord{axis}"]) for axis in "XYZ"]) * [-1, -1, 1]
    assert numpy.allclose((image.affine @ [10, 10, 10, 1])[:3], centre, atol=1e-3), (image.affine, centre)
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    scan = nibabel.load(folder / "phantom" / row["image_path"])
    values, inverse = scan.get_fdata(), numpy.linalg.inv(scan.affine)
    close = []
    for index in numpy.ndindex(5, 5, 5):
        place = numpy.array(index) + 8
        x, y, z = (inverse @ image.affine @ [*place, 1])[:3]
        low = numpy.floor([x, y, z]).astype(int)
        if (low < 0).any() or (low + 1 >= values.shape).any():
            continue
        block = values[low[0] : low[0] + 2, low[1] : low[1] + 2, low[2] : low[2] + 2]
        for share in [x, y, z] - low:
            block = block[0] * (1 - share) + block[1] * share
        close.append(abs(block - voxels[tuple(place)]))
    assert close and max(close) < 0.5, (name, max(close, default=None))
print(f"compared {len(rows)} volumes")
