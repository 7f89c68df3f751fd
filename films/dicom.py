"""Films in DICOM files, by pydicom 3: the grey values that a viewer would show, as 8 bits.

Nothing in a file but its pixels and what says how to show them is read, and no value of an element
reaches a message: a DICOM file says whose film it is.
"""

import functools
import logging
import warnings
import zlib

import numpy as np

from films.dicom_pixels import decoder_words, find_plugin, pixel_patterns
from films.dicom_shutter import ELEMENTS as COVERING
from films.dicom_shutter import display_shutter
from films.grey_values import ELEMENTS as SHOWING
from films.grey_values import eight_bits, grey_table, look_up
from films.plausibility import header_doubt
from runtime.files import UserError

# Computed, digital and film radiography, secondary capture.
MODALITIES = ("CR", "DX", "RG", "SC")
# The names of others that may be shown; any other text might be a person's.
OTHER_MODALITIES = ("CT", "MR", "MG", "US", "XA", "RF", "NM", "PT", "PX", "OT")
SIDES = (32, 10_000)  # pixels
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
GREY_REMEDY = "export it in grey, or give --any-colours"

# All that is read of a file, beside its first group, which names the transfer syntax. Functional
# groups are an enhanced object's: window, rescale and shutter are in them.
ELEMENTS = (
    *("ViewPosition", "PatientOrientation", "BodyPartExamined", "PresentationIntentType"),
    *("Modality", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *SHOWING,
    *COVERING,
)
DEFLATED = "1.2.840.10008.1.2.1.99"
DEFLATED_LIMIT = 1 << 29  # bytes: twice what a film of 10,000 x 10,000 pixels of 16 bits takes
# Of what a file without preamble may begin with.
FIRST_TYPES = (b"UL", b"OB", b"UI", b"CS", b"SH", b"DA", b"TM", b"DT", b"LO")


def is_dicom(file):
    """Tell whether a file, open for reading bytes at its beginning, is a DICOM file.

    Old ones begin with their first element, without preamble and the letters DICM.
    """
    start = file.read(132)
    file.seek(0)
    return start[128:] == b"DICM" or _has_no_preamble(start)


def _has_no_preamble(start):
    """Tell whether bytes begin with an element of group 2 or 8, as DICOM files do."""
    little, big = (b"\x02\0", b"\x08\0"), (b"\0\x02", b"\0\x08")
    if len(start) < 132 or start[:2] not in (*little, *big):
        return False
    if start[4:6] in FIRST_TYPES:
        return True
    # Without types: a short length, and another element of the group behind the value.
    length = int.from_bytes(start[4:8], "little")
    return start[:2] in little and length <= 120 and start[8 + length :][:2] == start[:2]


def read_dicom(file, name, window=None, any_modality=False, any_colours=False):
    """Read a film from a DICOM file.

    The stored values go through the modality LUT or rescaling, then through the window or VOI LUT;
    a film of MONOCHROME1, whose low values are bright, is turned round; the range is rounded to 8
    bits. Without window and VOI LUT it is the full range of Bits Stored. What a display shutter
    covers gets its value. (DICOM PS3.3, C.11.1, C.11.2 and C.7.6.11. Presentation LUT Shape says
    what MONOCHROME1 says, and is not applied on top of it.)

    Args:
        file: open for reading bytes.
        name: what to call it in messages.
        window: centre and width to use instead of the file's; None: the file's.
        any_modality: also read films that are not CR, DX, RG or SC.
        any_colours: also read films with colours, by their luminance.

    Returns:
        film: uint8 `[H, W]`.
        span: lowest and highest value that it has and lowest and highest that it could have, where
            nothing says which of them matter and it has more than 8 bits; else None.
        decoder: what decoded it, if it is compressed with loss; else "".
        of_header: of `header_doubt`.

    Raises:
        UserError: pydicom or a plug-in is missing, or the file is broken or no grey X-ray film.
    """
    if not _has_pydicom():
        raise UserError(
            f"{name}: the package pydicom, version 3, which reads DICOM films, is not installed; "
            "pip install -r requirements-dicom.txt"
        )
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings show values
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _refuse_inflated(file, name)
            header = _read_elements(file, stop_before_pixels=True)
            _refuse_others(header, name, any_modality)
            decoder, plugin = find_plugin(header, name)
            try:
                table, values, full = grey_table(header, window)
                shown, covered = display_shutter(header)
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
            file.seek(0)
            film = _read_elements(file, with_pixels=True)
            if not film.get("PixelData"):
                raise UserError(
                    f"{name}: want a film, got a DICOM file without pixel data; export it again"
                )
            patterns = pixel_patterns(film, decoder, plugin, name)
    except UserError:
        raise
    except Exception as error:  # of any type: hostile bytes reach all of pydicom and the plug-ins
        raise UserError(
            f"{name}: want a complete DICOM film, got one that does not decode "
            f"({type(error).__name__}); export it again"
        ) from None
    words = decoder_words(film, plugin)
    if film.SamplesPerPixel == 3:
        grey, span = _grey_of_colours(patterns, film.BitsStored, name, any_colours), None
    else:
        grey = look_up(table, patterns)
        seen = patterns if shown is None else patterns[shown]
        span = _span(seen, values, full, film.PixelRepresentation)
    if shown is not None:
        grey[~shown] = covered
    return grey, span, words, header_doubt(header)


def _has_pydicom():
    """Tell whether pydicom is there, version 3 or later: that is the first with `pixels`."""
    try:
        import pydicom.pixels  # noqa: F401
    except ImportError:
        return False
    return True


@functools.cache
def _tags():
    from pydicom.tag import Tag

    return [Tag(name) for name in ELEMENTS]


def _read_elements(file, with_pixels=False, **options):
    """Read the elements that are needed, of a file with or without preamble."""
    import pydicom

    tags = [*_tags(), pydicom.tag.Tag("PixelData")] if with_pixels else _tags()
    film = pydicom.dcmread(file, specific_tags=tags, force=True, **options)
    if "TransferSyntaxUID" not in film.file_meta:
        implicit, little = film.original_encoding
        syntaxes = pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.ImplicitVRLittleEndian
        film.file_meta.TransferSyntaxUID = (
            syntaxes[bool(implicit)] if little else pydicom.uid.ExplicitVRBigEndian
        )
    return film


def _refuse_inflated(file, name):
    """Refuse a deflated file that would not fit into memory; go back to its beginning."""
    from pydicom.filereader import read_dataset

    if file.read(132)[128:] != b"DICM":
        file.seek(0)
        return
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
        raise UserError(f"{name}: want one picture, got {frames} frames; export only the film")
    colours = header.get("PhotometricInterpretation")
    if (header.SamplesPerPixel, colours) not in [(1, c) for c in GREY] + [(3, c) for c in COLOURS]:
        raise UserError(f"{name}: want a grey film, got another kind of colours; export it in grey")
    rows, columns = int(header.Rows), int(header.Columns)
    if min(rows, columns) < SIDES[0] or max(rows, columns) > SIDES[1]:
        raise UserError(
            f"{name}: want a film of {SIDES[0]} to {SIDES[1]:,} pixels a side, got "
            f"{columns} x {rows}; export it at another size"
        )
    if header.BitsAllocated not in (8, 16) or not 1 <= header.BitsStored <= header.BitsAllocated:
        raise UserError(f"{name}: the bits a pixel are neither 8 nor 16; export it with 16")
    if header.get("HighBit", header.BitsStored - 1) != header.BitsStored - 1:
        raise UserError(
            f"{name}: the values are not in the lowest bits (High Bit below Bits Stored by "
            "one); export it again"
        )


def _grey_of_colours(patterns, bits, name, any_colours):
    """Return the grey values of a film that is stored in colours, uint8 `[H, W]`."""
    red, green, blue = (patterns[..., n] for n in range(3))
    if (red != green).any() or (red != blue).any():
        if not any_colours:
            raise UserError(f"{name}: want a grey film, got one with colours; {GREY_REMEDY}")
        # ITU-R 601-2, rounded as Pillow's convert("L") does.
        weighted = (19595, red), (38470, green), (7471, blue)
        red = (sum(n * plane.astype(np.int64) for n, plane in weighted) + 0x8000) >> 16
    return look_up(eight_bits(np.arange(2**bits) / (2**bits - 1)), red)


def _span(patterns, values, full, is_signed):
    """Return lowest and highest value that a film has, and that it could have."""
    if full is None or len(values) <= 256:
        return None
    if is_signed:  # the patterns of negative values come last
        patterns = patterns ^ (len(values) // 2)
        values = np.roll(values, len(values) // 2)
    ends = values[patterns.min()], values[patterns.max()]
    return (*map(float, sorted(ends)), *map(float, full))
