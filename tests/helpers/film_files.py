"""Films of every kind of file, made of an array of grey values."""

import io

import numpy as np
import pytest
from PIL import Image

pydicom = pytest.importorskip("pydicom", minversion="3")

from pydicom import uid

# What a DICOM file says of a person; none of it may be seen anywhere.
PERSON = {
    "PatientName": "Quux^Secret",
    "PatientID": "secret-4711",
    "PatientBirthDate": "19010203",
    "StudyDate": "20010203",
    "StudyInstanceUID": "1.2.826.4711.1",
    "SOPInstanceUID": "1.2.826.4711.2",
    "InstitutionName": "Secret Hospital",
}
DEFLATED = uid.DeflatedExplicitVRLittleEndian


def grey(side=64):
    """A picture with every grey value."""
    draw = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    draw.flat[:256] = np.arange(256)
    return draw


def dicom(pixels, syntax=uid.ExplicitVRLittleEndian, data=None, **elements):
    """The bytes of a DICOM file: pixels uint8, uint16 or int16 `[H, W]`."""
    bits = 8 * pixels.itemsize
    film = pydicom.Dataset()
    film.file_meta = pydicom.dataset.FileMetaDataset()
    film.file_meta.TransferSyntaxUID = uid.UID(syntax)
    film.file_meta.MediaStorageSOPInstanceUID = PERSON["SOPInstanceUID"]
    film.SOPClassUID = film.file_meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
    defaults = {
        "Modality": "DX",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": elements.get("BitsStored", bits) - 1,
        "PixelData": pixels.tobytes() if data is None else data,
    }
    film.Rows, film.Columns = pixels.shape
    for name, value in {**PERSON, **defaults, **elements}.items():
        if value is not None:
            setattr(film, name, value)
    if data is not None:
        film["PixelData"].VR = "OB"
        film["PixelData"].is_undefined_length = True
    elif film.file_meta.TransferSyntaxUID.is_compressed and syntax != DEFLATED:
        film.compress(syntax, pixels, generate_instance_uid=False)
    target = io.BytesIO()
    pydicom.dcmwrite(target, film, enforce_file_format=True)
    return target.getvalue()


# What a DICOM film may say of itself (element, value), and the doubt, if any.
SAID = [
    ("ViewPosition", "PA", ""),
    ("ViewPosition", "LL", "its header says a lateral view"),
    ("ViewPosition", " LL", "its header says a lateral view"),  # spaces around it do not count
    ("ViewPosition", "LARGE LATERAL", "its header says a lateral view"),  # in Open-i's
    ("ViewPosition", "LAT DECUBITUS", ""),
    ("PatientOrientation", ["L", "F"], ""),
    ("PatientOrientation", ["P", "F"], "its header says a lateral view"),
    ("BodyPartExamined", "NON GRID CHEST", ""),
    ("BodyPartExamined", "EXTREMETY", "its header says EXTREMITY, not CHEST"),  # both in Open-i's
    ("BodyPartExamined", "FOREARM", "its header says FOREARM, not CHEST"),
    ("BodyPartExamined", "QUUX", ""),
    ("PresentationIntentType", "FOR PRESENTATION", ""),
    ("PresentationIntentType", " FOR PROCESSING", "its header says a raw film, FOR PROCESSING"),
    ("PresentationIntentType", "FOR PROCESSING", "its header says a raw film, FOR PROCESSING"),
]


def by_gdcm(content, syntax, folder):
    """Have GDCM compress a DICOM file, bytes: `syntax` is its name for it."""
    gdcm = pytest.importorskip("gdcm")
    (folder / "plain.dcm").write_bytes(content)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(folder / "film.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return (folder / "film.dcm").read_bytes()


def picture(pixels, kind, **options):
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, kind, **options)
    return target.getvalue()


WRAPPED = {
    "MONOCHROME2": lambda x: dicom(x),
    "MONOCHROME1": lambda x: dicom(255 - x, PhotometricInterpretation="MONOCHROME1"),
    "16 bits": lambda x: dicom(x * np.uint16(257)),
    "signed": lambda x: dicom((x.astype(np.int32) * 257 - 32768).astype(np.int16)),
    "CR": lambda x: dicom(x, uid.ImplicitVRLittleEndian, Modality="CR"),
    "deflated": lambda x: dicom(x, DEFLATED),
    "RLE": lambda x: dicom(x * np.uint16(257), uid.RLELossless),
    "its own window": lambda x: dicom(x, WindowCenter=[128, 9], WindowWidth=[256, 9]),
    "16-bit PNG": lambda x: picture(x * np.uint16(257), "PNG"),
    "16-bit TIFF": lambda x: picture(x * np.uint16(257), "TIFF"),
    "16-bit TIFF, low is bright": lambda x: picture(
        (255 - x) * np.uint16(257), "TIFF", tiffinfo={262: 0}
    ),
    "8-bit TIFF": lambda x: picture(x, "TIFF", compression="tiff_lzw"),
}
