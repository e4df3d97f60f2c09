"""DICOM series written by pydicom, and what a reader must make of them.

    python3 dicom_pydicom.py OUT            every case that the installed encoders allow
    python3 dicom_pydicom.py OUT --small    the compressed cases alone, tiny: the fixtures in tests/fixtures/dicom

Needs pydicom and numpy. JPEG 2000 needs pylibjpeg and pylibjpeg-openjpeg, JPEG-LS needs pyjpegls; cases
without their encoder are left out. JPEG lossless is encoded here, and checked with pylibjpeg-libjpeg or
python-gdcm where one is installed. A case is a folder: files named at random, `expected.json` (shape,
affine from voxel to RAS mm, type) and `expected.bin` (little-endian, columns fastest).
"""

import json
import random
import sys
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    UID,
)

JPEGLossless = UID("1.2.840.10008.1.2.4.57")
# One case for each transfer syntax, and the predictors of JPEG lossless that differ most.
SMALL = [
    "rle",
    "jpeg2000_lossless",
    "jpeg2000_lossy",
    "jpegls_lossless",
    "jpegls_near",
    "jpeg_lossless_sv1",
    "jpeg_lossless_4",
    "jpeg_lossless_7",
    "deflated",
]
ROOT = "1.2.826.0.1.3680043.8.498."
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def decimal(value):
    """As a DS holds it: at most 16 characters."""
    return pydicom.valuerep.format_number_as_ds(float(value))


def rotation(degrees_x, degrees_z):
    a, b = np.radians([degrees_x, degrees_z])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return about_z @ about_x


def phantom(shape, low, high, seed):
    """Stored values (slice, row, column): a smooth ramp, noise, and both extremes."""
    slices, rows, columns = shape
    generator = np.random.default_rng(seed)
    z, y, x = np.mgrid[:slices, :rows, :columns]
    ramp = (x / columns + y / rows + z / slices) / 3
    values = low + (high - low) * ramp + generator.normal(0, (high - low) / 50, shape)
    values = np.clip(np.rint(values), low, high).astype(np.int64)
    values[0, 0, 0], values[-1, -1, -1], values[0, 0, 1] = low, high, high
    values[:, rows // 2, :] = low
    return values


class Case:
    def __init__(self, name, **options):
        self.name = name
        self.syntax = options.pop("syntax", ExplicitVRLittleEndian)
        self.bits = options.pop("bits", (16, 16))
        self.signed = options.pop("signed", True)
        self.shape = options.pop("shape", (5, 12, 10))
        self.orientation = options.pop("orientation", AXIAL)
        self.step = options.pop("step", None)
        self.spacing = options.pop("spacing", (0.8, 0.625))
        self.origin = options.pop("origin", (-120.5, -98.25, 310.0))
        self.rescale = options.pop("rescale", [(1, -1024)])
        self.range = options.pop("range", None)
        self.predictor = options.pop("predictor", 1)
        self.encode = options.pop("encode", {})
        self.enhanced = options.pop("enhanced", False)
        assert not options, options
        if self.step is None:
            row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
            self.step = 1.5 * np.cross(row, column)

    def stored(self):
        bits = self.bits[1]
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if self.signed else (0, (1 << bits) - 1)
        if self.range:
            low, high = self.range
        return phantom(self.shape, low, high, seed=len(self.name))

    def position(self, index):
        return [float(decimal(o + index * s)) for o, s in zip(self.origin, self.step)]

    def affine(self):
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        first, last = np.array(self.position(0)), np.array(self.position(self.shape[0] - 1))
        lps = np.eye(4)
        lps[:3, 0] = row * self.spacing[1]
        lps[:3, 1] = column * self.spacing[0]
        lps[:3, 2] = (last - first) / max(self.shape[0] - 1, 1)
        lps[:3, 3] = first
        return np.diag([-1, -1, 1, 1]) @ lps

    def geometry(self, dataset, index):
        dataset.ImagePositionPatient = [decimal(v) for v in self.position(index)]

    def common(self, dataset):
        dataset.ImageOrientationPatient = [decimal(v) for v in self.orientation]

    def dataset(self, index):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = EnhancedCTImageStorage if self.enhanced else CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"{ROOT}1.{index + 1}"
        meta.ImplementationClassUID = ROOT + "9"
        meta.TransferSyntaxUID = self.syntax
        ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID = meta.MediaStorageSOPClassUID
        ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.Modality = "CT"
        ds.PatientName = "Phantom^Synthetic"
        ds.PatientID = "none"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = ROOT + "2", ROOT + "3", ROOT + "4"
        ds.InstanceNumber = 1 + (index * 7) % 5
        ds.SamplesPerPixel = 1
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.Rows, ds.Columns = self.shape[1:]
        ds.BitsAllocated, ds.BitsStored = self.bits
        ds.HighBit = ds.BitsStored - 1
        ds.PixelRepresentation = int(self.signed)
        return ds

    def pixel_bytes(self, values):
        letter = {8: "1", 16: "2", 32: "4"}[self.bits[0]]
        order = ">" if self.syntax == ExplicitVRBigEndian else "<"
        return values.astype(f"{order}{'i' if self.signed else 'u'}{letter}").tobytes()

    def set_pixels(self, ds, values):
        if self.syntax in (JPEGLossless, JPEGLosslessSV1):
            mask = (1 << self.bits[1]) - 1
            frame = encode_jpeg_lossless(values & mask, self.bits[1], self.predictor)
            ds.PixelData = encapsulate([frame])
            ds["PixelData"].VR = "OB"
            ds["PixelData"].is_undefined_length = True
            check_jpeg_lossless(ds, values)
        elif self.syntax.is_compressed and self.syntax != DeflatedExplicitVRLittleEndian:
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            ds.PixelData = self.pixel_bytes(values)
            ds["PixelData"].VR = "OW"
            ds.compress(self.syntax, generate_instance_uid=False, **self.encode)
        else:
            ds.PixelData = self.pixel_bytes(values)
            ds["PixelData"].VR = "OB" if self.bits[0] == 8 else "OW"

    def classic(self, values):
        """One file for each slice, and the values that a decoder gives back."""
        files, decoded = [], []
        for index, image in enumerate(values):
            ds = self.dataset(index)
            self.common(ds)
            self.geometry(ds, index)
            ds.PixelSpacing = [decimal(v) for v in self.spacing]
            ds.SliceThickness = "3"
            slope, intercept = self.rescale[index % len(self.rescale)]
            ds.RescaleSlope, ds.RescaleIntercept = decimal(slope), decimal(intercept)
            self.set_pixels(ds, image)
            lossy = self.syntax in (JPEG2000, JPEGLSNearLossless)
            decoded.append(ds.pixel_array.astype(np.int64) if lossy else image)
            files.append(ds)
        return files, np.array(decoded)

    def multiframe(self, values):
        """One enhanced file whose frames are out of order."""
        ds = self.dataset(0)
        order = [(2 * index + 1) % len(values) for index in range(len(values))]
        ds.NumberOfFrames = len(values)
        shared = Dataset()
        shared.PixelMeasuresSequence = Sequence([Dataset()])
        shared.PixelMeasuresSequence[0].PixelSpacing = [decimal(v) for v in self.spacing]
        shared.PixelMeasuresSequence[0].SliceThickness = "3"
        shared.PlaneOrientationSequence = Sequence([Dataset()])
        self.common(shared.PlaneOrientationSequence[0])
        ds.SharedFunctionalGroupsSequence = Sequence([shared])
        groups = []
        for index in order:
            group = Dataset()
            group.PlanePositionSequence = Sequence([Dataset()])
            self.geometry(group.PlanePositionSequence[0], index)
            group.PixelValueTransformationSequence = Sequence([Dataset()])
            slope, intercept = self.rescale[index % len(self.rescale)]
            group.PixelValueTransformationSequence[0].RescaleSlope = decimal(slope)
            group.PixelValueTransformationSequence[0].RescaleIntercept = decimal(intercept)
            groups.append(group)
        ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
        self.set_pixels(ds, values[order])
        return [ds], values

    def write(self, out):
        values = self.stored()
        files, values = (self.multiframe if self.enhanced else self.classic)(values)
        folder = out / self.name
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"{index:02d}" for index in range(len(files))]
        random.Random(self.name).shuffle(names)
        for name, ds in zip(names, files):
            little = self.syntax != ExplicitVRBigEndian
            ds.save_as(folder / f"{name}.dcm", enforce_file_format=True) if little else pydicom.dcmwrite(
                folder / f"{name}.dcm", ds, enforce_file_format=True, little_endian=False, implicit_vr=False
            )
        slopes = np.array([self.rescale[i % len(self.rescale)] for i in range(self.shape[0])], dtype=np.float64)
        hu = values * slopes[:, 0, None, None] + slopes[:, 1, None, None]
        whole = np.all(hu == np.rint(hu)) and hu.min() >= -32768 and hu.max() <= 32767
        kind = "<i2" if whole else "<f4"
        hu.astype(kind).tofile(folder / "expected.bin")
        expected = {
            "shape": list(self.shape[::-1]),
            "affine": self.affine()[:3].tolist(),
            "type": "i16" if whole else "f32",
        }
        (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def encode_jpeg_lossless(values, precision, predictor):
    """JPEG lossless, Huffman coded (ITU-T T.81, annex H), of one component."""
    height, width = values.shape
    values = values.astype(np.int64)
    left = np.pad(values, ((0, 0), (1, 0)))[:, :-1]
    above = np.pad(values, ((1, 0), (0, 0)))[:-1]
    corner = np.pad(values, ((1, 0), (1, 0)))[:-1, :-1]
    prediction = {
        1: left,
        2: above,
        3: corner,
        4: left + above - corner,
        5: left + ((above - corner) >> 1),
        6: above + ((left - corner) >> 1),
        7: (left + above) >> 1,
    }[predictor]
    prediction[0, :] = left[0, :]
    prediction[:, 0] = above[:, 0]
    prediction[0, 0] = 1 << precision - 1
    differences = (values - prediction + 32768) % 65536 - 32768
    # 17 categories: 15 codes of 4 bits are one too few to end in ones, so two of them have 5 bits.
    lengths = [4] * 15 + [5] * 2
    codes, code = [], 0
    for category, length in enumerate(lengths):
        code <<= length - (lengths[category - 1] if category else length)
        codes.append(format(code, f"0{length}b"))
        code += 1
    bits = []
    for difference in differences.ravel().tolist():
        # −32768 is the category 16, without further bits.
        size = 16 if difference == -32768 else abs(difference).bit_length()
        bits.append(codes[size])
        if 0 < size < 16:
            low = difference if difference > 0 else difference + (1 << size) - 1
            bits.append(format(low, f"0{size}b"))
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    scan = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\x00")

    def segment(marker, body):
        return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body

    counts = bytes([lengths.count(length) for length in range(1, 17)])
    frame = bytes([precision]) + height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes([1, 1, 0x11, 0])
    return (
        b"\xff\xd8"
        + segment(0xC3, frame)
        + segment(0xC4, b"\0" + counts + bytes(range(17)))
        + segment(0xDA, bytes([1, 1, 0, predictor, 0, 0]))
        + scan
        + b"\xff\xd9"
    )


def check_jpeg_lossless(ds, values):
    """The encoder above against another's decoder, where there is one."""
    if get_decoder(ds.file_meta.TransferSyntaxUID).is_available:
        np.testing.assert_array_equal(ds.pixel_array, values)


def oblique():
    turn = rotation(20, 35)
    return [float(decimal(v)) for v in np.concatenate([turn[:, 0], turn[:, 1]])]


def compressed(shape, jpeg2000_shape, **options):
    # OpenJPEG wants 32 pixels in each direction.
    large = {"shape": jpeg2000_shape, **options}
    options = {"shape": shape, **options}
    twelve = {"bits": (16, 12), "signed": False, **options}
    yield Case("rle", syntax=RLELossless, **options)
    yield Case("rle_8", syntax=RLELossless, bits=(8, 8), signed=False, **options)
    yield Case("jpeg2000_lossless", syntax=JPEG2000Lossless, **large)
    yield Case("jpeg2000_lossless_12", syntax=JPEG2000Lossless, **{**twelve, **large})
    yield Case("jpeg2000_lossy", syntax=JPEG2000, encode={"j2k_cr": [4]}, **large)
    yield Case("jpegls_lossless", syntax=JPEGLSLossless, **options)
    yield Case("jpegls_lossless_12", syntax=JPEGLSLossless, **twelve)
    yield Case("jpegls_near", syntax=JPEGLSNearLossless, encode={"jls_error": 3}, **twelve)
    yield Case("jpeg_lossless_sv1", syntax=JPEGLosslessSV1, **options)
    yield Case("jpeg_lossless_sv1_8", syntax=JPEGLosslessSV1, bits=(8, 8), signed=False, **options)
    for predictor in range(1, 8):
        yield Case(f"jpeg_lossless_{predictor}", syntax=JPEGLossless, predictor=predictor, **twelve)
    yield Case("deflated", syntax=DeflatedExplicitVRLittleEndian, **options)


def cases():
    yield Case("implicit", syntax=ImplicitVRLittleEndian)
    yield Case("explicit")
    yield Case("big_endian", syntax=ExplicitVRBigEndian)
    yield Case("unsigned_12", bits=(16, 12), signed=False)
    yield Case("signed_12", bits=(16, 12))
    yield Case("bits_8", bits=(8, 8), signed=False)
    yield Case("bits_8_big_endian", bits=(8, 8), signed=False, syntax=ExplicitVRBigEndian)
    yield Case("bits_32", bits=(32, 32), range=(-30000, 30000))
    yield Case("unsigned_16", signed=False)
    yield Case("rescale_differs", rescale=[(1, -1024), (2, 7)], range=(-5000, 5000))
    yield Case("rescale_fraction", rescale=[(0.5, -1024.25)])
    yield Case("oblique", orientation=oblique())
    yield Case("sagittal", orientation=[0, 1, 0, 0, 0, -1])
    yield Case("coronal", orientation=[1, 0, 0, 0, 0, -1], syntax=ImplicitVRLittleEndian)
    yield Case("feet_first", orientation=[-1, 0, 0, 0, 1, 0])
    yield Case("tilt", step=np.array([0.0, -0.4, 2.0]))
    yield Case("tilt_oblique", orientation=oblique(), step=rotation(20, 35) @ np.array([0.0, 0.5, 1.25]))
    yield Case("fine_steps", step=np.array([0.0, 0.0, 0.625]), shape=(40, 4, 4))
    yield Case("enhanced", enhanced=True, rescale=[(1, -1024), (1, -1000)])
    yield Case("enhanced_rle", enhanced=True, syntax=RLELossless)
    yield Case("enhanced_jpeg2000", enhanced=True, syntax=JPEG2000Lossless, orientation=oblique(), shape=(5, 40, 33))
    yield from compressed(shape=(3, 70, 50), jpeg2000_shape=(3, 70, 50))


def main():
    out, small = Path(sys.argv[1]), "--small" in sys.argv[2:]
    tiny = compressed(shape=(2, 5, 4), jpeg2000_shape=(2, 32, 33), range=(3, 250))
    for case in [case for case in tiny if case.name in SMALL] if small else cases():
        try:
            case.write(out)
        except RuntimeError as error:
            # pydicom's word for an encoder that is not installed.
            print(f"{case.name}: left out, {error}".splitlines()[0], file=sys.stderr)
            continue
        print(case.name)


if __name__ == "__main__":
    main()
