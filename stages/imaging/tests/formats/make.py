"""Makes the files of this folder, and expected.json: what SimpleITK reads in them. Needs SimpleITK and NumPy."""

import json
import pathlib
import zlib
import gzip

import numpy
import SimpleITK as sitk

HERE = pathlib.Path(__file__).parent
SHAPE = (3, 4, 5)  # x, y, z
OBLIQUE = (0.9701425, -0.2425356, 0.0, 0.2425356, 0.9701425, 0.0, 0.0, 0.0, 1.0)


def values(kind):
    count = SHAPE[0] * SHAPE[1] * SHAPE[2]
    numbers = numpy.arange(count) * 7 - (200 if numpy.dtype(kind).kind != "u" else 0)
    if numpy.dtype(kind).itemsize == 1:
        numbers = numpy.arange(count)
    return numbers.astype(kind).reshape(SHAPE[::-1])


def image(kind, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    made = sitk.GetImageFromArray(values(kind))
    made.SetSpacing((0.7, 0.8, 2.5))
    made.SetOrigin((-12.5, 30.25, -100.0))
    made.SetDirection(direction)
    return made


def nrrd(name, fields, data=b"", version=4):
    (HERE / name).write_bytes(f"NRRD000{version}\n{fields}\n".encode() + data)


def meta(name, fields, data=b""):
    (HERE / name).write_bytes(fields.encode() + data)


def written_by_itk():
    for kind in ["int16", "uint8", "int8", "uint16", "int32", "uint32", "float32", "float64", "int64"]:
        sitk.WriteImage(image(kind), HERE / f"itk_{kind}.nrrd", kind == "int16")
        sitk.WriteImage(image(kind), HERE / f"itk_{kind}.mha", kind == "int16")
    sitk.WriteImage(image("int16", OBLIQUE), HERE / "oblique.nrrd")
    sitk.WriteImage(image("int16", OBLIQUE), HERE / "oblique.mha")
    sitk.WriteImage(image("int16"), HERE / "detached.nhdr", False)
    sitk.WriteImage(image("int16"), HERE / "detached_gz.nhdr", True)
    sitk.WriteImage(image("int16"), HERE / "detached_meta.mhd", False)
    sitk.WriteImage(image("int16"), HERE / "detached_zraw.mhd", True)


def written_by_hand():
    raw = values("int16").tobytes()
    big = values(">i2").tobytes()
    sizes = "dimension: 3\nsizes: 3 4 5\n"
    place = "space directions: (0.7,0,0) (0,0.8,0) (0,0,2.5)\nspace origin: (-12.5,30.25,-100)\n"
    for space in ["right-anterior-superior", "RAS", "left-anterior-superior", "left-posterior-superior"]:
        nrrd(f"space_{space}.nrrd", f"type: short\n{sizes}space: {space}\nendian: little\nencoding: raw\n{place}", raw)
    nrrd("big.nrrd", f"type: int16\n{sizes}space: LPS\nendian: big\nencoding: raw\n{place}", big)
    nrrd("gz.nrrd", f"# a comment\ntype: int16\n{sizes}space: LPS\nendian: little\nencoding: gz\n{place}a key:=a: value\n",
         gzip.compress(raw, mtime=0))
    nrrd("skip_last.nrrd", f"type: int16\n{sizes}space: LPS\nendian: little\nencoding: raw\nbyte skip: -1\n{place}",
         b"what stands before" + raw)
    oblique = "space directions: (0.6,0.2,0) (-0.2,0.6,0) (0,0.1,2.5)\nspace origin: (1,2,3)\n"
    nrrd("sheared.nrrd", f"type: int16\n{sizes}space: RAS\nendian: little\nencoding: raw\n{oblique}", raw)
    head = "ObjectType = Image\nNDims = 3\nBinaryData = True\n"
    tail = "ElementSpacing = 0.7 0.8 2.5\nDimSize = 3 4 5\n"
    matrix = "TransformMatrix = 0.9701425 0.2425356 0 -0.2425356 0.9701425 0 0 0 1\nOffset = -12.5 30.25 -100\n"
    meta("rows.mha", f"{head}BinaryDataByteOrderMSB = False\n{matrix}AnatomicalOrientation = RAI\n{tail}ElementType = MET_SHORT\nElementDataFile = LOCAL\n", raw)
    meta("big.mha", f"{head}BinaryDataByteOrderMSB = True\n{matrix}{tail}ElementType = MET_SHORT\nElementDataFile = LOCAL\n", big)
    meta("long.mha", f"{head}BinaryDataByteOrderMSB = False\n{matrix}{tail}ElementType = MET_LONG\nElementDataFile = LOCAL\n", values("int32").tobytes())
    meta("names.mha", f"Comment = by hand\n{head}ElementByteOrderMSB = False\nPosition = 1 2 3\nOrientation = 0 1 0 1 0 0 0 0 1\nElementSize = 0.5 0.5 2\nDimSize = 3 4 5\nElementType = MET_SHORT\nElementDataFile = LOCAL\n", raw)
    meta("zlib.mha", f"{head}BinaryDataByteOrderMSB = False\nCompressedData = True\nCompressedDataSize = {len(zlib.compress(raw))}\n{matrix}{tail}ElementType = MET_SHORT\nElementDataFile = LOCAL\n", zlib.compress(raw))
    meta("header_size.mhd", f"{head}BinaryDataByteOrderMSB = False\n{matrix}HeaderSize = -1\n{tail}ElementType = MET_SHORT\nElementDataFile = header_size.raw\n")
    (HERE / "header_size.raw").write_bytes(b"what stands before" + raw)
    meta("slope.mha", f"{head}BinaryDataByteOrderMSB = False\n{matrix}ElementToIntensityFunctionSlope = 2\nElementToIntensityFunctionOffset = -10\n{tail}ElementType = MET_SHORT\nElementDataFile = LOCAL\n", raw)
    meta("no_place.mha", f"{head}BinaryDataByteOrderMSB = False\n{tail}ElementType = MET_SHORT\nElementDataFile = LOCAL\n", raw)
    nrrd("no_space.nrrd", f"type: int16\n{sizes}endian: little\nencoding: raw\nspacings: 0.7 0.8 2.5\n", raw)


def main():
    for old in HERE.iterdir():
        if old.suffix not in (".py", ".rs"):
            old.unlink()
    written_by_itk()
    written_by_hand()
    expected = {}
    for path in sorted(HERE.iterdir()):
        if path.suffix not in (".nrrd", ".nhdr", ".mha", ".mhd"):
            continue
        read = sitk.ReadImage(path)
        array = sitk.GetArrayFromImage(read).astype("float64")
        expected[path.name] = {
            "size": read.GetSize(), "spacing": read.GetSpacing(), "origin": read.GetOrigin(), "direction": read.GetDirection(),
            "sum": float(array.sum()), "values": array.ravel()[[0, 1, 3, 12, 59]].tolist(),
        }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


main()
