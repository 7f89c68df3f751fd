"""Films in DICOM files, by pydicom 3: the grey values that a viewer would show, as 8 bits.

Nothing in a file but its pixels and what says how to show them is read, and no value of an element
reaches a message: a DICOM file says whose film it is.
"""

import collections.abc
import contextlib
import importlib.util
import logging
import struct
import warnings
import zlib

import numpy as np

from runtime.files import UserError

MODALITIES = ("CR", "DX", "SC")  # computed and digital radiography, secondary capture
# The names of others that may be shown; any other text might be a person's.
OTHER_MODALITIES = ("CT", "MR", "MG", "US", "XA", "RF", "NM", "PT", "PX", "OT")
SIDES = (32, 10_000)  # pixels

# All that is read of a file, beside its first group, which names the transfer syntax.
ELEMENTS = (
    *("Modality", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
)
# Transfer syntaxes that need something of their own.
DEFLATED, RUN_LENGTHS = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
DEFLATED_LIMIT = 1 << 29  # bytes: twice what a film of 10,000 x 10,000 pixels of 16 bits takes


def is_dicom(file):
    """Tell whether a file, open for reading bytes at its beginning, is a DICOM file."""
    magic = file.read(132)[128:]
    file.seek(0)
    return magic == b"DICM"


def read_dicom(file, name, window=None, any_modality=False):
    """Read a film from a DICOM file.

    The stored values go through the modality LUT or rescaling, then through the window or VOI LUT;
    a film of MONOCHROME1, whose low values are bright, is turned round; the range is rounded to 8
    bits. Without window and VOI LUT it is the full range of Bits Stored. (DICOM PS3.3, C.11.1 and
    C.11.2. Presentation LUT Shape says what MONOCHROME1 says, and is not applied on top of it.)

    Args:
        file: open for reading bytes.
        name: what to call it in messages.
        window: centre and width to use instead of the file's; None: the file's.
        any_modality: also read films that are not CR, DX or SC.

    Returns:
        uint8 `[H, W]`.

    Raises:
        UserError: pydicom or a plug-in is missing, or the file is broken or no grey X-ray film.
    """
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        raise UserError(
            f"{name}: want the package pydicom, version 3, for a DICOM film, got none; "
            "pip install 'pydicom>=3'"
        ) from None
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings show values
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _refuse_inflated(file, name)
            options = {"specific_tags": ELEMENTS, "stop_before_pixels": True}
            header = pydicom.dcmread(file, **options)
            _refuse_others(header, name, any_modality)
            decoder = _decoder(header, name)
            table, first = _table(header, name, window)
            file.seek(0)
            film = pydicom.dcmread(file, specific_tags=[*ELEMENTS, "PixelData"])
            if decoder.is_encapsulated and decoder.UID != RUN_LENGTHS:
                _refuse_other_size(film, name)
            options = {"decoding_plugin": _plugin(decoder)} if decoder.is_encapsulated else {}
            return look_up(table, pydicom.pixels.pixel_array(film, **options), first)
    except UserError:
        raise
    except Exception as error:  # of any type: hostile bytes reach all of pydicom and the plug-ins
        raise UserError(
            f"{name}: want a complete DICOM film, got one that does not decode "
            f"({type(error).__name__}); export it again"
        ) from None


def apply_window(values, center, width, function="LINEAR"):
    """Return where values lie in a window, from 0 to 1 (DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3).

    Args:
        values: numbers, an array.
        center, width: of the window, in the units of the values.
        function: "LINEAR", "LINEAR_EXACT" or "SIGMOID".
    """
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return (values > center).astype(float)
    return np.clip((values - center) / width + 0.5, 0, 1)


def eight_bits(shares):
    """Round numbers from 0 to 1 to uint8."""
    return np.rint(255 * shares).astype(np.uint8)


def look_up(table, values, first=0):
    """Return `table[values - first]`, uint8 `[H, W]`; a value beyond the table gets its end."""
    film = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), 256):  # not at once: an index takes eight bytes
        rows = values[top : top + 256].astype(np.int64) - first
        film[top : top + 256] = np.take(table, rows, mode="clip")
    return film


def _refuse_inflated(file, name):
    """Refuse a deflated file that would not fit into memory; go back to its beginning."""
    from pydicom.filereader import read_dataset

    file.seek(132)
    start = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    if start.get("TransferSyntaxUID") == DEFLATED:
        inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while chunk := inflate.unconsumed_tail or file.read(1 << 16):
            size += len(inflate.decompress(chunk, 1 << 20))
            if size > DEFLATED_LIMIT:
                raise UserError(
                    f"{name}: want a film, got over {DEFLATED_LIMIT >> 20} MB when inflated; "
                    "export it again"
                )
    file.seek(0)


def _refuse_others(header, name, any_modality):
    """Raise UserError for what is not one grey X-ray film of a size to work with."""
    if "Rows" not in header or "Columns" not in header:
        raise UserError(f"{name}: want a film, got a DICOM file without a picture; give another")
    modality = header.get("Modality")
    if modality not in MODALITIES and not any_modality:
        got = f"modality {modality}" if modality in OTHER_MODALITIES else "another modality"
        raise UserError(
            f"{name}: want an X-ray film (modality {', '.join(MODALITIES)}), got {got}; "
            "give --any-modality if it is a chest film all the same"
        )
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UserError(f"{name}: want one picture, got {frames} frames; export the film alone")
    grey = header.get("PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2")
    if header.SamplesPerPixel != 1 or not grey:
        raise UserError(f"{name}: want a grey film, got one with colours; export it in grey")
    rows, columns = int(header.Rows), int(header.Columns)
    if min(rows, columns) < SIDES[0] or max(rows, columns) > SIDES[1]:
        raise UserError(
            f"{name}: want a film of {SIDES[0]} to {SIDES[1]:,} pixels a side, got "
            f"{columns} x {rows}; export it at another size"
        )
    if header.BitsAllocated not in (8, 16) or not 1 <= header.BitsStored <= header.BitsAllocated:
        raise UserError(f"{name}: want 8 or 16 bits a pixel, got another number; export it with 16")
    if header.get("HighBit", header.BitsStored - 1) != header.BitsStored - 1:
        raise UserError(
            f"{name}: want values in the lowest bits (High Bit below Bits Stored by one), got "
            "others; export it again"
        )


def _decoder(header, name):
    """Return pydicom's decoder of a file's transfer syntax, if a package that it needs is there."""
    from pydicom.pixels import get_decoder

    syntax = header.file_meta.TransferSyntaxUID
    shown = f"transfer syntax {syntax.name}" if syntax.name != syntax else "a private one"
    with contextlib.suppress(NotImplementedError):
        decoder = get_decoder(syntax)
        is_available, packages = decoder.is_available, "python-gdcm"
        if "High-Throughput" in shown:
            packages = "pylibjpeg pylibjpeg-openjpeg"
        elif syntax == JPEG_EXTENDED and header.BitsStored > 8:  # the others decode 8 bits of it
            is_available = importlib.util.find_spec("libjpeg") is not None
            packages = "pylibjpeg pylibjpeg-libjpeg"
        if is_available:
            return decoder
        raise UserError(
            f"{name}: want a package that decodes its pixels, got none for {shown}; "
            f"pip install {packages}"
        )
    raise UserError(
        f"{name}: want a transfer syntax that pydicom reads, got {shown}; export it uncompressed"
    )


def _plugin(decoder):
    """Return the plug-in to decode with: one alone, as pydicom tries all of them otherwise.

    GDCM is the last: broken JPEG 2000 streams make it end the whole process.
    """
    order = ("pydicom", "pylibjpeg", "pillow", "gdcm")
    return min(decoder.available_plugins, key=lambda name: [*order, name].index(name))


def _table(header, name, window):
    """Return what each stored value becomes, uint8 `[2 ** Bits Stored]`, and the first of them."""
    from pydicom.pixels import apply_modality_lut, apply_voi

    bits = header.BitsStored
    first = -(2 ** (bits - 1)) if header.PixelRepresentation else 0
    values = apply_modality_lut(np.arange(first, first + 2**bits), header)
    luts = header.get("VOILUTSequence")
    center, width = (_first(header.get(f"Window{part}")) for part in ("Center", "Width"))
    function = header.get("VOILUTFunction") or "LINEAR"
    if window:
        shares = apply_window(values, *window)
    elif luts:
        depth = luts[0].LUTDescriptor[2]
        if depth == 8:  # pydicom 3.0 would keep the places in it in 8 bits as well
            luts[0].LUTDescriptor[2] = 16
        shares = apply_voi(np.rint(values).astype(np.int64), header) / (2**depth - 1)
    elif center is not None and width is not None:
        least = 1 if function == "LINEAR" else 1e-6
        known = function in ("LINEAR", "LINEAR_EXACT", "SIGMOID")
        if not known or not np.isfinite([center, width]).all() or width < least:
            raise UserError(
                f"{name}: want a window of finite numbers, wider than nothing, and a function that "
                "DICOM has, got another; give --window"
            )
        shares = apply_window(values, center, width, function)
    else:
        low, high = values.min(), values.max()
        shares = (values - low) / (high - low)
    if not np.isfinite(shares).all():
        raise UserError(f"{name}: want grey values that differ, got others; give --window")
    turned = header.PhotometricInterpretation == "MONOCHROME1"
    return eight_bits(1 - shares if turned else shares), first


def _first(value):
    """Return the first of what may be several numbers: a file may offer several windows."""
    if isinstance(value, collections.abc.MutableSequence):
        value = value[0] if value else None
    return None if value in (None, "") else float(value)


def _refuse_other_size(film, name):
    """Raise UserError unless compressed pixels have the size that the file says they have.

    A decoder takes the memory that the compressed stream asks for.
    """
    from pydicom.encaps import get_frame

    size = _stream_size(get_frame(film.PixelData, 0, number_of_frames=1))
    if size and size != (film.Columns, film.Rows):
        raise UserError(
            f"{name}: want {film.Columns} x {film.Rows} pixels as the file says, got a stream of "
            f"{size[0]} x {size[1]}; export it again"
        )


def _stream_size(stream):
    """Return (width, height) of a JPEG, JPEG-LS or JPEG 2000 stream; None if it is none."""
    # JPEG 2000: start of the stream, then the size; some writers put a JP2 header before it.
    start = stream.find(b"\xff\x4f\xff\x51", 0, 256)
    if start >= 0:
        right, bottom, left, top = struct.unpack_from(">4I", stream, start + 8)
        return right - left, bottom - top
    at = 2
    while stream[:2] == b"\xff\xd8" and at + 9 <= len(stream):
        _, marker, length, _, height, width = struct.unpack_from(">BBHBHH", stream, at)
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            return width, height
        at += 2 + length
    return None
