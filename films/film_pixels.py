"""The files that films come in, PNG, JPEG, TIFF and DICOM, and their pixels as 8 bits of grey."""

import contextlib
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, UnidentifiedImageError

from films.dicom import GREY_REMEDY, SIDES, is_dicom, read_dicom
from films.grey_values import apply_window, eight_bits, look_up
from runtime.files import UserError, first_line, refuse_placeholder

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
        any_colours: also read films with colours, as a mark has, by their luminance.
    """

    window: list | None = None
    any_modality: bool = False
    any_colours: bool = False


AS_STORED = Reading()


class FilmFacts(NamedTuple):
    """What is known of a film's file once it is read, beside its pixels.

    Attributes:
        span: lowest and highest value that it has and lowest and highest that it could have, of
            a film of more than 8 bits whose range nothing chose; else None.
        decoder: what decoded a DICOM film that is compressed with loss; else "".
        of_header: why a DICOM file says that it is no frontal chest film; else "".
    """

    span: tuple | None = None
    decoder: str = ""
    of_header: str = ""


# EXIF's orientations that are not upright, and what turns them back.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_film(path, resize=256, name=None, reading=AS_STORED):
    """Read a film as PIL's `convert("RGB")` and bilinear resize of the short side do, one channel.

    The three channels of a film are equal, and resizing only the grey plane gives the same bytes.

    Args:
        path: a PNG, JPEG, TIFF or DICOM file (see `films.film_pixels`), grey or in colours with
            equal channels; or one that is open for reading bytes.
        resize: length of the short side, pixels; None: as it is.
        name: what to call it in messages, if not its path.
        reading: how values of more than 8 bits are read.

    Returns:
        uint8 `[1, H, W]`.

    Raises:
        UserError: the file is missing, broken, no film, or not grey where `reading` wants that.
    """
    return read_film_with_facts(path, resize, name, reading)[0]


def read_film_with_facts(path, resize=256, name=None, reading=AS_STORED):
    """Return what `read_film` does, and a `FilmFacts`."""
    name = name or path
    try:
        with contextlib.nullcontext(path) if hasattr(path, "read") else open(path, "rb") as file:
            grey, facts = read_grey(file, name, reading)
    except FileNotFoundError:
        raise UserError(f"{name}: no such film; check the path") from None
    except PermissionError:
        raise UserError(f"{name}: want a film, got permission denied; chmod +r it") from None
    except IsADirectoryError:
        raise UserError(f"{name}: want a film, got a folder; give the files in it") from None
    except UnidentifiedImageError:
        if not hasattr(path, "read"):
            refuse_placeholder(path)
        raise UserError(
            f"{name}: want a complete PNG, JPEG, TIFF or DICOM film, got a file that does not "
            "decode as any; convert it to PNG, or download it again if it should be one"
        ) from None
    except UserError:
        raise
    except Exception as error:  # PIL tells a truncated or foreign file by nearly any type
        raise UserError(
            f"{name}: want a complete PNG, JPEG, TIFF or DICOM film, got a file that does not "
            f"decode ({first_line(error)}); download it again"
        ) from None
    return np.asarray(_resized(grey, resize))[np.newaxis], facts  # [H, W] -> [1, H, W]


def read_both_sizes(path, resize, name=None, reading=AS_STORED):
    """Decode a film once; return what `read_film` does resized and as it is, and a `FilmFacts`."""
    whole, facts = read_film_with_facts(path, None, name, reading)
    return np.asarray(_resized(Image.fromarray(whole[0]), resize))[np.newaxis], whole, facts


def _resized(grey, resize):
    """Return a PIL.Image whose short side has `resize` pixels; None: as it is."""
    width, height = grey.size
    short, long = min(grey.size), max(grey.size)
    if not resize or short == resize:
        return grey
    # torchvision's Resize: the long side is cut, not rounded, to a whole number.
    long = int(resize * long / short)
    return grey.resize((resize, long) if width <= height else (long, resize), Image.BILINEAR)


def read_grey(file, name, reading):
    """Read the grey plane of a film.

    Args:
        file: open for reading bytes.
        name: what to call it in messages.
        reading: a `Reading`.

    Returns:
        A `PIL.Image` of mode L, and a `FilmFacts`.

    Raises:
        UserError: the film is not grey, or of another kind than the project reads.
        Exception: PIL's, of a broken picture.
    """
    if is_dicom(file):
        film, *facts = read_dicom(file, name, *reading)
        return Image.fromarray(film), FilmFacts(*facts)
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
        span = None
        if image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PNG"):
            grey, span = _grey_of_16_bits(image, reading.window)
        elif image.mode.startswith(("I", "F")):
            raise UserError(
                f"{name}: want 8 or 16 bits a pixel, got PIL mode {image.mode}; "
                "scale it to 8 bits, as NIH did"
            )
        elif reading.window and _has_16_bits(image):  # PIL has taken the high bytes
            raise UserError(
                f"{name}: want one channel where --window is given, got {image.mode} of 16 bits "
                "each; convert it to 16 bits of grey"
            )
        else:
            grey = _grey_plane(image, name, reading.any_colours)
        return _upright(grey, image), FilmFacts(span)


def _upright(grey, image):
    """Return a decoded film as its EXIF orientation says; PIL has turned those of TIFF already."""
    orientation = 1
    with contextlib.suppress(Exception):  # a broken EXIF block, by nearly any type, says nothing
        orientation = image.getexif().get(274)
    if image.format == "TIFF" or orientation not in UPRIGHT:
        return grey
    return grey.transpose(UPRIGHT[orientation])


def _has_16_bits(image):
    """Tell whether a picture of several channels has 16 bits in each."""
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (1,))) > 8  # BitsPerSample
    return image.format == "PNG" and "16" in str(image.tile)  # PIL's name of its raw mode


def _grey_of_16_bits(image, window):
    """Return a picture's values as 8 bits, of a window or of the full range, and their span."""
    bits, low_is_bright = 16, False
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (16,))[0]  # BitsPerSample: 12 or 16
        low_is_bright = image.tag_v2.get(262) == 0  # PhotometricInterpretation: WhiteIsZero
    levels, values = np.arange(2**bits), np.asarray(image)
    shares = apply_window(levels, *window) if window else levels / levels[-1]
    table = eight_bits(1 - shares if low_is_bright else shares)
    span = None if window else (*map(float, (values.min(), values.max())), 0.0, 2.0**bits - 1)
    return Image.fromarray(look_up(table, values)), span


def _grey_plane(image, name, any_colours):
    """Return the grey plane of an image, decoded; of one whose channels differ, the luminance."""
    if image.mode == "L":
        image.load()
        return image
    if image.mode in ("1", "LA"):
        return image.convert("L")
    rgb = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
    red, green, blue = (rgb.getchannel(n) for n in range(3))
    if ImageChops.difference(red, green).getbbox() or ImageChops.difference(red, blue).getbbox():
        if any_colours:
            return rgb.convert("L")
        raise UserError(f"{name}: want a grey film, got one with colours; {GREY_REMEDY}")
    return red
