"""Readers given broken input: a UserError or a result, nothing else. FUZZ=20000 takes minutes."""

import io
import os
import pickle
import tempfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from convert_torch_weights import convert
from films.film_pixels import read_film
from films.label_lists import read_label_list, read_labels
from model import CheXNet
from runtime.files import UserError
from weights.torch_checkpoint import load_torch
from weights.untrusted_files import read_pickle, read_safetensors
from weights.weight_files import read_weights

torch = pytest.importorskip("torch")

FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ", "100")),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
GREY = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
PERSON = "Quux^Secret"
ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(4, np.float16)}


def saved(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def torch_file(legacy):
    state = {f"module.densenet121.{name}": torch.from_numpy(a) for name, a in ARRAYS.items()}
    options = {"_use_new_zipfile_serialization": not legacy}
    return saved(lambda file: torch.save({"state_dict": state}, file, **options))


def safetensors_file():
    from safetensors.numpy import save

    return save(ARRAYS)


def png_file():
    return saved(lambda file: Image.fromarray(GREY).save(file, format="PNG"))


@st.composite
def broken(draw, content):
    """A file with some bytes changed, cut out, put in or left off at the end."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        kind = draw(st.sampled_from(["change", "cut", "insert", "truncate"]))
        if kind == "change" and content:
            content[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del content[at : at + draw(st.integers(1, 40))]
        elif kind == "insert":
            content[at:at] = draw(st.binary(max_size=20))
        else:
            del content[at:]
    return bytes(content)


def read(reader, content, suffix):
    """Give a reader a file; it may refuse it, in words."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"file{suffix}")
        with open(path, "wb") as file:
            file.write(content)
        try:
            return reader(path)
        except UserError as error:
            assert PERSON not in str(error)
            assert path in str(error) and "; " in str(error)


LIST = "".join(f"{n:08d}_000.png" + " 0 1" * 7 + "\n" for n in range(5)).encode()


@FUZZ
@given(st.one_of(broken(LIST), st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_label_lists(content):
    found = read(read_label_list, content, ".txt")
    if found is not None:
        names, labels = found
        assert labels.shape == (len(names), 14) and set(np.unique(labels)) <= {0, 1}
        assert all(os.path.basename(name) == name for name in names)


TABLE = b"Image Index,Patient ID,Mass,Hernia\n" + b"".join(
    b"patient%d/%d.png,%d,%s,1\n" % (n // 2, n, n // 2, cell)
    for n, cell in enumerate((b"0", b"1", b"", b"-1", b"1.0"))
)


@FUZZ
@given(st.one_of(broken(TABLE), st.text(max_size=200).map(lambda text: TABLE + text.encode())))
def test_label_tables(content):
    found = read(read_labels, content, ".csv")
    if found is not None:
        names, labels, patients = found
        assert labels.shape == (len(names), 14) and len(patients) == len(names) > 0
        assert set(np.unique(labels[~np.isnan(labels)])) <= {0, 1}
        folder = "/data"
        for name in names:
            assert os.path.normpath(os.path.join(folder, name)) == f"{folder}/{name}"
            assert name.isprintable()


PICKLES = [pickle.dumps(ARRAYS, protocol) for protocol in (2, 3, 4, 5)]


@FUZZ
@given(st.one_of(*map(broken, PICKLES), st.binary(max_size=200)))
def test_pickles(content):
    read(read_pickle, content, ".pdparams")
    read(read_weights, content, ".pdparams")


@FUZZ
@given(st.one_of(broken(safetensors_file()), st.binary(max_size=200)))
def test_safetensors(content):
    read(read_safetensors, content, ".safetensors")
    read(read_weights, content, ".safetensors")


NETWORK = CheXNet()


@FUZZ
@given(st.one_of(broken(torch_file(True)), broken(torch_file(False)), st.binary(max_size=200)))
def test_torch_checkpoints(content):
    def converted(path):
        # read_torch starts a process for each
        arrays = {name: tensor.numpy() for name, tensor in load_torch(path).items()}
        return convert(arrays, NETWORK, path)

    read(converted, content, ".pth.tar")


def tiff_file():
    return saved(lambda file: Image.fromarray(GREY.astype(np.uint16)).save(file, format="TIFF"))


def dicom_file(syntax):
    """A DICOM film with a window and a table; half of it is what says how to show the pixels."""
    pydicom = pytest.importorskip("pydicom", minversion="3")
    film, table = pydicom.Dataset(), pydicom.Dataset()
    film.file_meta = pydicom.dataset.FileMetaDataset()
    film.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    film.SOPClassUID, film.SOPInstanceUID = pydicom.uid.SecondaryCaptureImageStorage, "1.2.3"
    film.PatientName, film.Modality = PERSON, "DX"
    film.Rows = film.Columns = 64
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME1"
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 8, 8, 7, 0
    film.RescaleSlope, film.RescaleIntercept, film.WindowCenter, film.WindowWidth = 1, 0, 99, 99
    table.LUTDescriptor = [8, 0, 8]
    table.add_new("LUTData", "US", list(range(8)))
    film.VOILUTSequence = pydicom.Sequence([table])
    film.PixelData = GREY.tobytes()
    if syntax in ("JPEG2000Lossless", "RLELossless"):
        film.compress(getattr(pydicom.uid, syntax), generate_instance_uid=False)
    else:
        film.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    return saved(lambda file: pydicom.dcmwrite(file, film, enforce_file_format=True))


SYNTAXES = ("ExplicitVRLittleEndian", "ImplicitVRLittleEndian", "DeflatedExplicitVRLittleEndian")
SYNTAXES += ("RLELossless", "JPEG2000Lossless")


def read_as_film(content, suffix):
    film = read(read_film, content, suffix)
    assert film is None or film.dtype == np.uint8


@FUZZ
@given(st.one_of(broken(png_file()), broken(tiff_file()), st.binary(max_size=200)))
def test_films(content):
    read_as_film(content, ".png")


@FUZZ
@given(data=st.data())
def test_dicom_films(data):
    content = dicom_file(data.draw(st.sampled_from(SYNTAXES)))
    start = data.draw(st.sampled_from([132, len(content) - 64 * 64 - 400]))
    # What is before stays: without its magic it is no DICOM file; the picture is most of the rest.
    part = content[max(132, start) :][: data.draw(st.sampled_from([700, None]))]
    rest = content[max(132, start) + len(part) :]
    broken_part = data.draw(broken(part))
    read_as_film(content[: max(132, start)] + broken_part + rest, ".dcm")
