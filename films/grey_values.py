"""What stored values become: a table of 8-bit grey values, by windows and DICOM's look-up tables.

The rules are those of DICOM PS3.3, C.11.1 (modality), C.11.2 (values of interest) and C.7.5.1.1.2
(padding), and PS3.5, 8.1.1 (bits above Bits Stored). docs/dicom.md gives them in words.
"""

import collections.abc

import numpy as np

from runtime.files import UserError

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
# What says how to show values.
ELEMENTS = (
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
)
# Sequences of a functional group that do.
GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "FrameDisplayShutterSequence")


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


def look_up(table, values):
    """Return `table[values]`, uint8 `[H, W]`; a value beyond the table gets its end."""
    film = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), 256):  # not at once: an index takes eight bytes
        film[top : top + 256] = np.take(table, values[top : top + 256], mode="clip")
    return film


def grey_table(header, window=None):
    """Return the grey value of every pattern of Bits Stored bits of a DICOM film.

    Args:
        header: a pydicom data set.
        window: centre and width to use instead of the file's.

    Returns:
        table: uint8 `[2 ** Bits Stored]`, in the order of unsigned numbers: the patterns of
            negative values come last.
        values: what the patterns stand for after rescaling, numbers `[2 ** Bits Stored]`.
        full: lowest and highest value that there could be, where neither a window nor a VOI LUT
            said which of them matter; else None.

    Raises:
        UserError: a window or a LUT is none that DICOM has; without the name of the film.
    """
    stored = np.arange(2**header.BitsStored)
    if header.PixelRepresentation:
        stored[len(stored) // 2 :] -= len(stored)
    rules = _rules(header)
    values = _modality_values(stored, rules)
    shares, is_chosen = _shares(values, rules, window)
    if not np.isfinite(shares).all() or shares.min() == shares.max():
        raise UserError("all grey values are the same; give --window")
    table = eight_bits(1 - shares if header.PhotometricInterpretation == "MONOCHROME1" else shares)
    table[_padding(stored, header)] = 0  # background, whatever it would look like
    return table, values, None if is_chosen else _full_range(values, rules)


def places_of(header):
    """Return the data sets that may say how to show a film: the file, then its functional groups.

    An enhanced object keeps it in sequences of the groups.
    """
    groups = [
        *(header.get("PerFrameFunctionalGroupsSequence") or [])[:1],
        *(header.get("SharedFunctionalGroupsSequence") or [])[:1],
    ]
    places = [header, *groups]
    for group in groups:
        for name in GROUPS:
            places += (group.get(name) or [])[:1]
    return places


def _rules(header):
    """Return what says how to show values, dict by keyword: the file's, or its functional groups'.

    Empty sequences and LUTs without data are left out.
    """
    order = "<u2" if header.original_encoding[1] is not False else ">u2"
    rules = {}
    for place in places_of(header):
        for name in ELEMENTS:
            value = place.get(name)
            if name.endswith("Sequence"):
                luts = (_read_lut(item, order) for item in value or [])
                value = next((lut for lut in luts if lut), None)
            if value is not None and value != "":
                rules.setdefault(name, value)
    return rules


def _read_lut(item, order):
    """Return the first value that a LUT maps, 16 bits, its entries, int64 `[N]`, and their bits.

    Entries of up to 8 bits may lie in a byte each, two in a word, the first in the lower half: the
    length tells. Otherwise the data decide how many entries there are, not the descriptor.

    Returns:
        None for an item without a LUT, or with one entry, which says nothing.
    """
    data, descriptor = item.get("LUTData"), np.ravel(item.get("LUTDescriptor"))
    if data is None or len(descriptor) != 3:
        return None
    if isinstance(data, bytes):
        data = np.frombuffer(data[: len(data) // 2 * 2], order)
    entries = np.ravel(data).astype(np.int64) & 0xFFFF
    count, first, depth = (int(number) & 0xFFFF for number in descriptor)
    if depth <= 8 and len(entries) == (count + 1) // 2:
        entries = np.stack([entries & 0xFF, entries >> 8], 1).ravel()[:count]
    if len(entries) < 2:
        return None
    if depth > 16:
        raise UserError("want a LUT of 1 to 16 bits, got another; give --window")
    # Some writers give fewer bits than the entries have.
    return first, entries, max(depth, int(entries.max()).bit_length())


def _modality_values(stored, rules):
    """Return values after the modality LUT or rescaling, numbers `[N]`."""
    if lut := rules.get("ModalityLUTSequence"):
        first, entries, _ = lut
        return np.take(entries, stored - _signed(first, stored.min() < 0), mode="clip")
    if "RescaleSlope" not in rules and "RescaleIntercept" not in rules:
        return stored
    values = stored * _number(rules, "RescaleSlope", 1) + _number(rules, "RescaleIntercept", 0)
    if not np.isfinite(values).all():
        raise UserError("the rescaling is not by finite numbers; export it again")
    return values


def _shares(values, rules, window):
    """Return the brightness of values, 0 to 1 `[N]`, and whether a window or VOI LUT chose it."""
    if window:
        return apply_window(values, *window), True
    if lut := rules.get("VOILUTSequence"):
        first, entries, depth = lut
        # The first value is signed where what goes in can be negative (C.11.2.1.1).
        rows = np.rint(values).astype(np.int64) - _signed(first, values.min() < 0)
        return np.take(entries, rows, mode="clip") / (2**depth - 1), True
    if "WindowCenter" not in rules or "WindowWidth" not in rules:
        low, high = _full_range(values, rules)
        return (values - low) / max(high - low, 1e-9), False
    center, width = _number(rules, "WindowCenter", 0), _number(rules, "WindowWidth", 0)
    function = rules.get("VOILUTFunction", "LINEAR")
    if function not in FUNCTIONS:
        raise UserError("the window function is none that DICOM has; give --window")
    if not np.isfinite([center, width]).all():
        raise UserError("the window is not of finite numbers; give --window")
    if width < 1 and function == "LINEAR":
        raise UserError(
            "want a window width of at least 1, which DICOM's function LINEAR asks for, got a "
            "smaller one; give --window"
        )
    if width <= 0:
        raise UserError("want a window width above 0, got another; give --window")
    return apply_window(values, center, width, function), True


def _full_range(values, rules):
    """Return what is black and white where nothing says so: all that values could be."""
    if lut := rules.get("ModalityLUTSequence"):
        return 0, 2 ** lut[2] - 1
    return values.min(), values.max()


def _padding(stored, header):
    """Tell which stored values are Pixel Padding Value, or within its range: bool `[N]`."""
    ends = [header.get("PixelPaddingValue"), header.get("PixelPaddingRangeLimit")]
    if not isinstance(ends[0], int):
        return np.zeros(len(stored), bool)
    ends = [_signed(end, stored.min() < 0) for end in ends if isinstance(end, int)]
    return (stored >= min(ends)) & (stored <= max(ends))


def _signed(number, is_signed):
    """Return 16 bits as the rule for their sign reads them, whatever the element's type said."""
    number &= 0xFFFF
    return number - 0x10000 if is_signed and number >= 0x8000 else number


def _number(rules, name, default):
    """Return a number, the first of several: a file may offer several windows."""
    value = rules.get(name, default)
    if isinstance(value, collections.abc.MutableSequence):
        value = value[0] if value else default
    return float(value)
