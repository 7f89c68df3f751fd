"""The stored values of a DICOM film: which decoder reads which transfer syntax, and its answer.

By accuracy beside DCMTK (docs/dicom.md has the figures), one order for every machine: a probability
should not depend on what else happens to be installed.
"""

import contextlib
import importlib.metadata
import struct

import numpy as np

from films.decoder_process import DecoderDied, DecoderRefused, decode
from runtime.files import UserError

ORDER = ("pydicom", "pyjpegls", "pillow", "gdcm", "pylibjpeg")
# GDCM is the last: broken JPEG 2000 streams make it end its process.
ORDER_JPEG_2000 = ("pylibjpeg", "pillow", "gdcm")
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
# What may lose something: JPEG, JPEG Extended, JPEG-LS, JPEG 2000, High-Throughput JPEG 2000.
WITH_LOSS = tuple(f"1.2.840.10008.1.2.4.{end}" for end in ("50", "51", "81", "91", "203"))
PACKAGES = {"pillow": "pillow", "gdcm": "python-gdcm", "pyjpegls": "pyjpegls"}


def find_plugin(header, name):
    """Return pydicom's decoder of a file's transfer syntax and the plug-in to use, None: none.

    Only one, as pydicom tries all of them otherwise.

    Raises:
        UserError: there is none, or the package that it needs is not there.
    """
    from pydicom.pixels import get_decoder

    syntax = header.file_meta.TransferSyntaxUID
    shown = f"transfer syntax {syntax.name}" if syntax.name != syntax else "a private one"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise UserError(
            f"{name}: want a transfer syntax that pydicom reads, got {shown}; "
            "export it uncompressed"
        ) from None
    if not decoder.is_encapsulated:
        return decoder, None
    order, packages = ORDER, "python-gdcm"
    if syntax in JPEG_2000:
        order = ORDER_JPEG_2000
    elif (syntax == JPEG_EXTENDED and header.BitsStored > 8) or (
        # The others decode 8 bits of it; here valid streams make GDCM end its process.
        syntax in JPEG_LOSSLESS and header.BitsStored < 8
    ):
        order, packages = ("pylibjpeg",), "pylibjpeg pylibjpeg-libjpeg"
    elif syntax in JPEG_LS and header.BitsStored in (6, 7):  # not GDCM's
        order, packages = ("pyjpegls", "pylibjpeg"), "pyjpegls"
    elif "High-Throughput" in shown:
        packages = "pylibjpeg pylibjpeg-openjpeg"
    available = [plugin for plugin in order if plugin in decoder.available_plugins]
    if not available:
        raise UserError(
            f"{name}: no package that decodes {shown} is installed; pip install {packages}"
        )
    return decoder, available[0]


def pixel_patterns(film, decoder, plugin, name):
    """Return the lowest Bits Stored bits of each pixel, whatever lies above them (PS3.5, 8.1.1).

    Args:
        film: a pydicom data set with pixels.
        decoder, plugin: of `find_plugin`.
        name: what to call it in messages.

    Returns:
        uint8 or uint16 `[H, W]`, or `[H, W, 3]`.

    Raises:
        UserError: the stream does not fit the file, or is broken, or its decoder ended.
        Exception: pydicom's, of a broken file.
    """
    if plugin in (None, "pydicom"):
        import pydicom.pixels

        options = {"decoding_plugin": plugin} if plugin else {}
        values = pydicom.pixels.pixel_array(film, **options)
    else:
        values = _decoded(film, decoder, plugin, name)
    if values.dtype.itemsize == 4:  # a stream says that it has more bits than the file
        values = values.astype(np.uint16)
    values = values.view(values.dtype.str.replace("i", "u"))  # big-endian ones stay so
    if film.BitsStored < 8 * values.dtype.itemsize:
        values = values & ((1 << film.BitsStored) - 1)
    return values


def decoder_words(film, plugin):
    """Return what decoded pixels that are compressed with loss, "" of others: it decides digits."""
    syntax = film.file_meta.TransferSyntaxUID
    if syntax not in WITH_LOSS:
        return ""
    package = PACKAGES.get(plugin) or (
        "pylibjpeg-openjpeg" if "2000" in syntax.name else "pylibjpeg-libjpeg"
    )
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        package += f" {importlib.metadata.version(package)}"
    return f"{syntax.name} by {package}"


def _decoded(film, decoder, plugin, name):
    """Return a compressed film's values, decoded in another process."""
    from pydicom.encaps import get_frame

    stream = mended(get_frame(film.PixelData, 0, number_of_frames=1))
    size = _stream_size(stream)
    if size and size != (film.Columns, film.Rows):  # a decoder takes the memory that it asks for
        raise UserError(
            f"{name}: want {film.Columns} x {film.Rows} pixels as the file says, got a stream of "
            f"{size[0]} x {size[1]}; export it again"
        )
    options = {
        "transfer_syntax": str(decoder.UID),
        "rows": film.Rows,
        "columns": film.Columns,
        "number_of_frames": 1,
        "samples_per_pixel": film.SamplesPerPixel,
        "photometric_interpretation": film.PhotometricInterpretation,
        "bits_allocated": film.BitsAllocated,
        "bits_stored": film.BitsStored,
        "pixel_representation": film.PixelRepresentation,
        "pixel_keyword": "PixelData",
    }
    if film.SamplesPerPixel > 1:
        options["planar_configuration"] = film.get("PlanarConfiguration", 0)
        if plugin == "pillow" and _is_ycc_by_adobe(stream):
            options["photometric_interpretation"] = "RGB"  # what Pillow has made of it
    try:
        return decode(stream, plugin, options)
    except DecoderDied as error:
        raise UserError(
            f"{name}: want a film that {plugin} decodes, got one that ended its process ({error}); "
            "export it uncompressed"
        ) from None
    except DecoderRefused as error:
        raise UserError(
            f"{name}: want a complete DICOM film, got one that {plugin} does not decode ({error}); "
            "export it again"
        ) from None


def mended(stream):
    """Return a stream as its standard wants it, where only one meaning is possible.

    - DICOM's pad byte behind the last marker: Pillow 11 to 13 do not decode JPEG 2000 with it where
      the length of the last tile is left open (Psot = 0).
    - The scan header of a sequential JPEG must have 0, 63, 0 (ITU-T T.81, table B.3); 12-bit ones
      are written that have another end of the spectrum, and pylibjpeg-libjpeg refuses them.
    """
    if stream.rstrip(b"\0").endswith(b"\xff\xd9"):
        stream = stream.rstrip(b"\0")
    marker, start = None, 0
    for found, at in _segments(stream):
        if found in (0xC0, 0xC1):
            marker = found
        elif found == 0xDA and marker:
            start = at + 5 + 2 * stream[at + 4]  # behind the components of the scan
    if start and stream[start : start + 3] != b"\x00\x3f\x00":
        stream = stream[:start] + b"\x00\x3f\x00" + stream[start + 3 :]
    return stream


def _is_ycc_by_adobe(stream):
    """Tell whether Adobe's marker says that a JPEG is in YCbCr, which pydicom does not look at."""
    return any(
        marker == 0xEE
        and stream[at + 4 : at + 9] == b"Adobe"
        and stream[at + 15 : at + 16] == b"\1"
        for marker, at in _segments(stream)
    )


def _stream_size(stream):
    """Return (width, height) of a JPEG, JPEG-LS or JPEG 2000 stream; None if it is none."""
    # JPEG 2000: start of the stream, then the size; some writers put a JP2 header before it.
    start = stream.find(b"\xff\x4f\xff\x51", 0, 256)
    if start >= 0:
        right, bottom, left, top = struct.unpack_from(">4I", stream, start + 8)
        return right - left, bottom - top
    for marker, at in _segments(stream):
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            height, width = struct.unpack_from(">HH", stream, at + 5)
            return width, height
    return None


def _segments(stream):
    """Yield (marker, place) of a JPEG stream's segments up to its first scan."""
    at, marker = 2, None
    while stream[:2] == b"\xff\xd8" and at + 9 <= len(stream) and marker != 0xDA:
        _, marker, length = struct.unpack_from(">BBH", stream, at)
        yield marker, at
        at += 2 + length
