"""The files that films come in, PNG, JPEG, TIFF and DICOM, and their pixels as 8 bits of grey."""

import contextlib
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, UnidentifiedImageError

from films.dicom import SIDES, apply_window, eight_bits, is_dicom, look_up, read_dicom
from runtime.files import UserError, first_line

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


def read_film(path, resize=256, name=None, reading=AS_STORED):
    """Read a film as PIL's `convert("RGB")` and bilinear resize of the short side do, one channel.

    The three channels of a film are equal, and resizing the grey plane alone gives the same bytes.

    Args:
        path: a PNG, JPEG, TIFF or DICOM file (see `films.film_pixels`), grey or in colours with
            equal channels; or one that is open for reading bytes.
        resize: length of the short side, pixels; None: as it is.
        name: what to call it in messages, if not its path.
        reading: how values of more than 8 bits are read.

    Returns:
        uint8 `[1, H, W]`.

    Raises:
        UserError: the file is missing, broken, no film, or not grey.
    """
    name = name or path
    try:
        with contextlib.nullcontext(path) if hasattr(path, "read") else open(path, "rb") as file:
            grey = read_grey(file, name, reading)
    except FileNotFoundError:
        raise UserError(f"{name}: want a film, got no such file; check the path") from None
    except PermissionError:
        raise UserError(f"{name}: want a film, got permission denied; chmod +r it") from None
    except IsADirectoryError:
        raise UserError(f"{name}: want a film, got a folder; give the files in it") from None
    except UnidentifiedImageError:
        raise UserError(
            f"{name}: want a complete PNG, JPEG, TIFF or DICOM film, got a file that does not "
            "decode as any; convert it to PNG, or download it again if it should be one"
        ) from None
    except UserError:
        raise
    except Exception as error:  # PIL tells a truncated or foreign file by nearly any type
        raise UserError(
            f"{name}: want a complete PNG, JPEG or TIFF film, got a file that does not decode "
            f"({first_line(error)}); download it again"
        ) from None
    width, height = grey.size
    short, long = min(grey.size), max(grey.size)
    if resize and short != resize:
        # torchvision's Resize: the long side is cut, not rounded, to a whole number.
        long = int(resize * long / short)
        grey = grey.resize((resize, long) if width <= height else (long, resize), Image.BILINEAR)
    return np.asarray(grey)[np.newaxis]  # [H, W] -> [1, H, W]


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
