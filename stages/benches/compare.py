"""Times other tools at the same crop: a cube of 100 mm at 1 mm around a point of a NIfTI scan.

    python3 compare.py SCAN X Y Z        (LPS millimetres)

Each tool that is installed runs three times in a process of its own; the fastest time and the peak
memory are printed, tools that are not installed are named. Our own figure for the same scan:
`cargo bench -p pipe-stages --bench preprocessing_table -- SCAN X Y Z`. The tools differ in how they place half voxels, so
their values differ a little from one another; what is compared is the work.
"""

import importlib.util
import resource
import subprocess
import sys
import time

EDGE = 100


def nibabel_scipy(path, point):
    """Reads everything, interpolates the cube only."""
    import nibabel
    import numpy
    from scipy import ndimage

    image = nibabel.load(path)
    data = numpy.asarray(image.dataobj)
    x, y, z = point
    to_voxels = numpy.linalg.inv(image.affine)
    # RAS corner of the cube; its axes run to the left, back and head as LPS does.
    corner = numpy.array([-x + EDGE / 2, -y + EDGE / 2, z - EDGE / 2])
    matrix = to_voxels[:3, :3] @ numpy.diag([-1.0, -1.0, 1.0])
    offset = to_voxels[:3, :3] @ corner + to_voxels[:3, 3]
    shape = (EDGE, EDGE, EDGE)
    cube = ndimage.affine_transform(data, matrix, offset, shape, output=numpy.float32, order=1)
    return cube.transpose(2, 1, 0)


def simpleitk(path, point):
    """Reads everything, interpolates the cube only."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    image = sitk.ReadImage(path)
    corner = [coordinate - EDGE / 2 for coordinate in point]
    cube = sitk.Resample(
        image, [EDGE] * 3, sitk.Transform(), sitk.sitkLinear, corner, [1.0] * 3, [1, 0, 0, 0, 1, 0, 0, 0, 1], 0.0, sitk.sitkFloat32
    )
    return sitk.GetArrayFromImage(cube)


def monai(path, point):
    """The published way: everything is resampled to 1 mm, then the cube is cut out."""
    import torch
    from monai.transforms import Compose, LoadImage, Orientation, Spacing

    torch.set_num_threads(1)
    volume = Compose([LoadImage(image_only=True, ensure_channel_first=True), Spacing(pixdim=(1, 1, 1)), Orientation("LPS")])(path)
    to_voxels = torch.linalg.inv(volume.affine)
    x, y, z = point
    centre = (to_voxels @ torch.tensor([-x, -y, z, 1.0], dtype=to_voxels.dtype))[:3].int().tolist()
    starts = [max(0, index - EDGE // 2) for index in centre]
    a, b, c = (slice(start, start + EDGE) for start in starts)
    return volume[0, a, b, c].permute(2, 1, 0)


TOOLS = {
    "nibabel + scipy": (nibabel_scipy, ["nibabel", "scipy"]),
    "SimpleITK": (simpleitk, ["SimpleITK"]),
    "MONAI": (monai, ["monai", "nibabel"]),
}


def run_one(name, path, point):
    tool, _ = TOOLS[name]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        tool(path, point)
        times.append(time.perf_counter() - start)
    # The first run also pays for importing the tool.
    print(f"{min(times):.2f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f}")


def main():
    if sys.argv[1] == "--tool":
        name, path, *point = sys.argv[2:]
        return run_one(name, path, [float(number) for number in point])
    print(f"{'':<20}{'time':>10}{'memory':>12}")
    for name, (_, packages) in TOOLS.items():
        missing = [package for package in packages if importlib.util.find_spec(package) is None]
        if missing:
            print(f"{name:<20}  not installed: {', '.join(missing)}")
            continue
        command = [sys.executable, __file__, "--tool", name, *sys.argv[1:]]
        seconds, megabytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-2:]
        print(f"{name:<20}{seconds:>8} s{megabytes:>9} MB")


main()
