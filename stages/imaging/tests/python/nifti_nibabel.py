"""Writes NIfTI files of every kind with nibabel, and what nibabel reads in them.

    python3 nifti_nibabel.py FOLDER

FOLDER/cases.json lists for each file (or pair of files): its name, the shape of the volume, the
affine (voxel indices to RAS millimetres) and the values, first axis fastest. `tests/nifti_nibabel.rs`
runs this and holds our reader against it. Needs nibabel and numpy.
"""

import itertools
import json
import pathlib
import sys

import nibabel
import numpy

SPACING = [0.7, 0.8, 2.5]
TYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "i8", "u8", "f8"]
CLASSES = {
    "nifti1": (nibabel.Nifti1Image, ".nii"),
    "nifti1_pair": (nibabel.Nifti1Pair, ".img"),
    "nifti2": (nibabel.Nifti2Image, ".nii"),
    "nifti2_pair": (nibabel.Nifti2Pair, ".img"),
}
# sform code, qform code. Where both count they agree, so that which one is taken does not matter.
FORMS = [(1, 1), (1, 0), (0, 1), (2, 1), (0, 0), (2, 0), (1, 4)]
SCALINGS = [(None, None), (1.0, -1024.0), (2.0, 0.0), (0.25, 10.5), (-1.5, 3.0)]
SHAPES = [(5, 4, 3), (5, 4, 3, 1), (5, 4), (1, 4, 3), (5, 1, 1, 1, 1), (2, 3, 4, 1, 1, 1, 1)]


def oblique():
    """A rotation about two axes, mirrored, with the spacing and an offset."""
    angles = [0.3, -0.2]
    (c, s), (d, t) = [(numpy.cos(angle), numpy.sin(angle)) for angle in angles]
    rotation = numpy.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ numpy.array([[1, 0, 0], [0, d, -t], [0, t, d]])
    affine = numpy.eye(4)
    affine[:3, :3] = rotation @ numpy.diag([-SPACING[0], SPACING[1], SPACING[2]])
    affine[:3, 3] = [12.25, -80.5, 401.0]
    return affine


def values(shape, code):
    """Numbers of both signs where the type has them, up to the ends of the small integer types."""
    dtype = numpy.dtype(code)
    count = int(numpy.prod(shape))
    if dtype.kind == "f":
        return (numpy.linspace(-1024, 3071, count) + 0.125).astype(dtype).reshape(shape)
    limits = numpy.iinfo(dtype)
    low, high = max(limits.min, -(2**40)), min(limits.max, 2**40)
    return numpy.linspace(low, high, count).astype(dtype).reshape(shape)


def write(folder, name, cls, suffix, endianness, code, forms, scaling, shape, extension):
    header = cls.header_class(endianness=endianness)
    header.set_data_dtype(numpy.dtype(code).newbyteorder(endianness))
    raw = values(shape, code)
    affine = oblique()
    image = cls(raw, affine, header, dtype=numpy.dtype(code).newbyteorder(endianness))
    sform, qform = forms
    image.set_sform(affine if sform else None, code=sform)
    image.set_qform(affine if qform else None, code=qform)
    image.header["pixdim"][1:4] = SPACING
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(*scaling)
    if extension:
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"behind the header " * 9))
    path = folder / (name + suffix)
    image.to_filename(path)

    found = nibabel.load(path)
    assert found.header.endianness == endianness, name
    assert found.get_data_dtype().newbyteorder("=") == numpy.dtype(code), name
    if sform or qform:
        expected = found.affine
    else:
        # nibabel puts the origin into the middle here; ITK takes the axes as LPS and the first voxel as the origin.
        x, y, z = [float(s) for s in found.header["pixdim"][1:4]]
        expected = numpy.diag([-x, -y, z, 1.0])
    data = found.get_fdata(dtype=numpy.float64)
    files = sorted(str(p.name) for p in (pathlib.Path(f.filename) for f in found.file_map.values()))
    return {
        "name": name,
        "files": list(dict.fromkeys(files)),
        "shape": (list(shape) + [1])[:3],
        "affine": numpy.asarray(expected, dtype=float)[:3].tolist(),
        "values": data.flatten(order="F").tolist(),
    }


def main():
    folder = pathlib.Path(sys.argv[1])
    cases = []
    kinds = itertools.product(CLASSES.items(), ["", ".gz"], ["<", ">"], TYPES)
    for index, ((kind, (cls, suffix)), compression, endianness, code) in enumerate(kinds):
        forms, scaling, shape = (choices[index % len(choices)] for choices in (FORMS, SCALINGS, SHAPES))
        order = "little" if endianness == "<" else "big"
        name = f"{index:03}_{kind}_{code}_{order}_s{forms[0]}q{forms[1]}"
        extension = index % 4 == 1
        cases.append(
            write(folder, name, cls, suffix + compression, endianness, code, forms, scaling, shape, extension)
        )
    (folder / "cases.json").write_text(json.dumps(cases))
    print(len(cases), "cases")


main()
