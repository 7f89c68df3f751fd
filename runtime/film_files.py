"""The files that films come in, PNG, JPEG, TIFF and DICOM, and their pixels as 8 bits of grey."""

import os
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops

from runtime.dicom_files import (
    SIDES,
    apply_window,
    eight_bits,
    is_dicom,
    look_up,
    read_dicom,
)
from runtime.files import UserError

FILM_EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")

# Of pictures that are larger than PIL expects; `SIDES` is the limit here.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Of a broken TIFF file, which then does not decode.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class Reading(NamedTuple):
    """How films are read: what `command_line.add_reading_arguments` asks for.

    Attributes:
        window: centre and width of the values that become 0 to 255, of DICOM files and of pictures
            with 16 bits; None: as a DICOM file says, or the full range.
        any_modality: also read DICOM files that are not of an X-ray modality.
    """

    window: list | None = None
    any_modality: bool = False


AS_STORED = Reading()


def is_film(path):
    """Tell whether a file is a film by its name or, as DICOM files often have none, its content."""
    if os.path.basename(path).startswith("._"):  # what macOS keeps beside a file
        return False
    if path.lower().endswith(FILM_EXTENSIONS):
        return True
    if os.path.basename(path).upper() == "DICOMDIR" or not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return is_dicom(file)


def films_below(paths):
    """Find films: files as they are given, and those below folders, which are gone through.

    Args:
        paths: of files and folders.

    Returns:
        dict from name to path: a file's own name, or its path below the folder, with "/"; in the
        order of the paths, and sorted within a folder.

    Raises:
        UserError: a folder has no films, two films have one name, or a name is not UTF-8.
        OSError: a folder cannot be read.
    """
    films = {}
    for path in paths:
        found = {os.path.basename(path): path}
        if os.path.isdir(path):
            of = {os.path.relpath(file, path).replace(os.sep, "/"): file for file in _files(path)}
            found = {name: of[name] for name in sorted(of) if is_film(of[name])}
        if not found:
            raise UserError(
                f"{path}: want a folder with films, got none in it ({', '.join(FILM_EXTENSIONS)}); "
                "check the path"
            )
        for name in found:
            if any("\ud800" <= letter <= "\udfff" for letter in name):  # bytes that are no UTF-8
                raise UserError(f"{name!a}: want a name in UTF-8, got other bytes; rename the film")
            if name in films:
                raise UserError(f"{name}: want films of different names, got it twice; rename one")
        films |= found
    return films


def _files(folder):
    """Yield the files below a folder, those behind links too; each folder once."""

    def refuse(error):
        raise error

    seen = set()
    for top, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(top)
        if real in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            yield os.path.join(top, name)


def read_grey(file, name, reading):
    """Read the grey plane of a film.

    Args:
        file: open for reading bytes.
        name: what to call it in messages.
        reading: a `Reading`.

    Returns:
        A `PIL.Image` of mode L.

    Raises:
        UserError: the film is not grey, or of another kind than the project reads.
        Exception: PIL's, of a broken picture.
    """
    if is_dicom(file):
        return Image.fromarray(read_dicom(file, name, *reading))
    with Image.open(file, formats=("PNG", "JPEG", "TIFF")) as image:
        if min(image.size) < SIDES[0] or max(image.size) > SIDES[1]:
            width, height = image.size
            raise UserError(
                f"{name}: want a film of {SIDES[0]} to {SIDES[1]:,} pixels a side, got "
                f"{width} x {height}; download it again"
            )
        if getattr(image, "n_frames", 1) > 1:
            raise UserError(
                f"{name}: want one picture, got {image.n_frames}; keep the one that is the film"
            )
        # PIL before version 11 has "I", whole numbers, for PNG files of 16 bits.
        if image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PNG"):
            return _grey_of_16_bits(image, reading.window)
        if image.mode.startswith(("I", "F")):
            raise UserError(
                f"{name}: want 8 or 16 bits a pixel, got PIL mode {image.mode}; "
                "scale it to 8 bits, as NIH did"
            )
        return _grey_plane(image, name)


def _grey_of_16_bits(image, window):
    """Return a picture's values as 8 bits: those of a window, or of the full range of its type."""
    bits, low_is_bright = 16, False
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (16,))[0]  # BitsPerSample: 12 or 16
        low_is_bright = image.tag_v2.get(262) == 0  # PhotometricInterpretation: WhiteIsZero
    levels = np.arange(2**bits)
    shares = apply_window(levels, *window) if window else levels / levels[-1]
    table = eight_bits(1 - shares if low_is_bright else shares)
    return Image.fromarray(look_up(table, np.asarray(image)))


def _grey_plane(image, name):
    """Return the grey plane of an image, decoded; of a colour one whose channels are equal."""
    if image.mode == "L":
        image.load()
        return image
    if image.mode in ("1", "LA"):
        return image.convert("L")
    rgb = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
    red, green, blue = (rgb.getchannel(n) for n in range(3))
    if ImageChops.difference(red, green).getbbox() or ImageChops.difference(red, blue).getbbox():
        raise UserError(
            f"{name}: want a grey film, got one with colours; convert it to grey yourself"
        )
    return red
