"""The page of `predict.py --serve`: drop a film, see probabilities and where the network looks."""

import io

import numpy as np
import paddle
import streamlit as st
from PIL import Image

from evaluation.heat_maps import too_coarse
from evaluation.operating_points import meanings, none_above
from films.film_pixels import read_both_sizes
from films.label_lists import CLASS_NAMES
from films.plausibility import doubt
from inference.activation_maps import heat_map, look
from runtime.files import UserError
from serving.server import one_film, served

SHOWN_SIDE = 2048  # of a film on the page at most, pixels
SCROLLING_TABLES = "<style>[data-testid=stMarkdownContainer] { overflow-x: auto; }</style>"


def main():
    (page,) = served
    paddle.disable_static()  # a mode that each thread has for itself; Streamlit starts new ones
    st.set_page_config(page_title="CheXNet in PaddlePaddle", layout="wide")
    st.title("CheXNet in PaddlePaddle")
    st.warning("**Not for clinical use.** No output of this page may guide the care of a person.")
    upload = st.file_uploader(
        "A frontal chest film: PNG, JPEG, TIFF or DICOM. It stays in this computer's memory."
    )
    if upload is None:
        return
    try:
        content = io.BytesIO(upload.getvalue())
        film, whole, facts = read_both_sizes(content, page.resize, upload.name, page.reading)
    except UserError as error:
        st.error(f"error: {error}")
        return
    with one_film:
        (probs,), maps = look(page.layer, film[np.newaxis])

    if found := doubt(film, facts.span, facts.of_header):
        st.warning(f"{upload.name}: {found.text}. Look at it before its figures.")
    order = [CLASS_NAMES[c] for c in np.argsort(-probs, kind="stable")]
    of = dict(zip(CLASS_NAMES, probs, strict=True))
    values = page.values
    known = meanings(probs, page.thresholds, values)
    # A wide table has the width of the page, and scrolls where that is a telephone's.
    st.markdown(SCROLLING_TABLES, unsafe_allow_html=True)
    table, picture = (st.container(), st.container()) if values else st.columns([1, 2])
    with table:
        # Not st.table, which needs PyArrow, whose releases of today need NumPy 2.
        rows = [columns(of[name], known.get(name), values) for name in order]
        heads = ["Finding", *rows[0]]
        lines = [heads, ["---"] * len(heads)]
        lines += [[name, *row.values()] for name, row in zip(order, rows, strict=True)]
        st.markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))
        if text := none_above(probs, known):
            st.markdown(f"**{text.capitalize()}.**")
        if page.other:
            what = "reference values" if values else "thresholds"
            st.warning(f"The {what} are not of this network: {page.other}.")
        if values:
            st.caption(
                f"Calibrated, base rate and rank are of {values['films']} validation films of "
                f"{values['patients']} patients, where findings may be more or less common than "
                "where this film is from."
            )
            if values.get("source"):
                st.caption(f"These films are: {values['source']}")
    with picture:
        reason = too_coarse(page.crop_size)
        if maps is None:
            reason = "the crops leave out a part of so long a film"
        if reason:
            st.info(f"No heat maps: {reason}.")
            return
        finding = st.selectbox("Heat map of", order)
        shown = Image.fromarray(whole[0])
        shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
        st.image(
            heat_map(np.asarray(shown), maps[0][CLASS_NAMES.index(finding)], finding, of[finding]),
            caption=f"{upload.name}, and where the network looks for {finding}: "
            "the redder, the more evidence of the finding",
        )


def shown(number):
    """Return a number as text; of what is not known, a dash."""
    return "–" if np.isnan(number) else f"{number:.4f}"


def columns(prob, known, values):
    """Return what the table says of a finding: dict from heading, the same for all, to text.

    Args:
        prob: its probability.
        known: its `Meaning`, or None where there are no thresholds.
        values: what `read_reference` returned, or None.
    """
    row = {"Probability": f"{prob:.4f}"}
    if known:  # the decision first: on a telephone the others are scrolled to
        row["Decision"] = known.decision(prob) or "–"
        row["Threshold"] = shown(known.threshold)
    if values:
        row["Calibrated"] = shown(known.calibrated)
        row["Base rate"] = shown(known.base_rate)
        row["Above, of films without it"] = "–" if known.above is None else f"{known.above} %"
    if known:
        row["Caution"] = known.caution().removeprefix("caution: ")
    return row


main()
