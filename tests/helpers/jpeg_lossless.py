"""JPEG Lossless streams (ITU-T T.81, annex H) of every predictor, which no package here writes."""


def jpeg_lossless(pixels, bits, predictor=1, restart_rows=0, shift=0):
    """Return the stream of a picture.

    A difference of 0 has a code of one bit, so that streams end with their last bit now and then.

    Args:
        pixels: whole numbers `[H, W]`.
        bits: of a pixel.
        predictor: 1 to 7.
        restart_rows: rows between two restart markers; 0 for none.
        shift: the point transform: how many of the lowest bits are left out.
    """
    rows, columns = pixels.shape
    values = (pixels >> shift).tolist()
    parts, code = [], ""
    for y, row in enumerate(values):
        is_first = y % restart_rows == 0 if restart_rows else y == 0
        if is_first and y:
            parts += [_packed(code), bytes([0xFF, 0xD0 + (y // restart_rows - 1) % 8])]
            code = ""
        for x, value in enumerate(row):
            if is_first:
                guess = row[x - 1] if x else 1 << (bits - shift - 1)
            elif x == 0:
                guess = values[y - 1][0]
            else:
                guess = _predicted(predictor, row[x - 1], values[y - 1][x], values[y - 1][x - 1])
            code += _coded((value - guess + 32767) % 65536 - 32767)
    parts.append(_packed(code))
    restarts = _segment(0xDD, (restart_rows * columns).to_bytes(2, "big")) if restart_rows else b""
    lengths = bytes([1, 0, 0, 0, 0, 16, *[0] * 10])  # how many codes there are of 1 to 16 bits
    size = rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xC3, bytes([bits]) + size + bytes([1, 1, 0x11, 0])),
            _segment(0xC4, bytes([0]) + lengths + bytes(range(17))),
            restarts,
            _segment(0xDA, bytes([1, 1, 0, predictor, 0, shift])),
            *parts,
            b"\xff\xd9",
        ]
    )


def _predicted(predictor, left, above, corner):  # table H.1
    return {
        1: left,
        2: above,
        3: corner,
        4: left + above - corner,
        5: left + ((above - corner) >> 1),
        6: above + ((left - corner) >> 1),
        7: (left + above) >> 1,
    }[predictor]


def _coded(difference):  # from -32767 to 32768
    category = abs(difference).bit_length()
    if category in (0, 16):
        return "0" if category == 0 else f"{32 + 15:06b}"
    rest = difference if difference > 0 else difference + (1 << category) - 1
    return f"{32 + category - 1:06b}{rest:0{category}b}"


def _packed(code):
    code += "1" * (-len(code) % 8)
    return int(code, 2).to_bytes(len(code) // 8, "big").replace(b"\xff", b"\xff\0")


def _segment(marker, content):
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content
