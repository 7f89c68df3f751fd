"""The page of `predict.py --serve`: drop a film, see probabilities and where the network looks."""

import argparse
import io
import threading

from runtime import environment  # noqa: F401  (before Paddle)

# isort: split
import numpy as np
import paddle
import streamlit as st

from dataset import CLASS_NAMES, read_film
from evaluation.operating_points import read_thresholds
from inference.activation_maps import TenCropMaps, heat_map
from inference.engine import load_network
from inference.film_check import doubt
from runtime.command_line import add_reading_arguments
from runtime.devices import set_device
from runtime.files import UserError
from runtime.film_files import Reading


@st.cache_resource(show_spinner="Loading the network")
def load(weights, crop_size, device):
    """Return the network for all who have the page open, and its lock: it takes one at a time."""
    set_device(device)
    return TenCropMaps(load_network(weights, crop_size), crop_size), threading.Lock()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights")
    parser.add_argument("--resize", type=int)
    parser.add_argument("--crop-size", type=int)
    parser.add_argument("--device")
    parser.add_argument("--thresholds")
    add_reading_arguments(parser)
    args = parser.parse_args()

    paddle.disable_static()  # a mode that each thread has for itself; Streamlit starts new ones
    st.set_page_config(page_title="CheXNet in PaddlePaddle", layout="wide")
    st.title("CheXNet in PaddlePaddle")
    st.warning("**Not for clinical use.** No output of this page may guide the care of a person.")
    layer, lock = load(args.weights, args.crop_size, args.device)
    upload = st.file_uploader(
        "A frontal chest film: PNG, JPEG, TIFF or DICOM. It stays in this computer's memory alone."
    )
    if upload is None:
        return
    content = upload.getvalue()
    try:
        reading = Reading(args.window, args.any_modality)
        film = read_film(io.BytesIO(content), args.resize, upload.name, reading)
        whole = read_film(io.BytesIO(content), None, upload.name, reading)[0]
        with lock, paddle.no_grad():
            probs, maps = (x.numpy()[0] for x in layer(paddle.to_tensor(film[np.newaxis])))
    except UserError as error:
        st.error(f"error: {error}")
        return

    if reason := doubt(film):
        st.warning(f"{upload.name}: {reason}. Look at it before its figures.")
    order = [CLASS_NAMES[c] for c in np.argsort(-probs, kind="stable")]
    of = dict(zip(CLASS_NAMES, probs, strict=True))
    thresholds = read_thresholds(args.thresholds) if args.thresholds else None
    table, picture = st.columns([1, 2])
    with table:
        rows = [("Finding", "Probability", *(("Threshold", "Decision") if thresholds else ()))]
        rows.append(["---"] * len(rows[0]))
        for name in order:
            row = [name, f"{of[name]:.4f}"]
            if thresholds:
                decision = "positive" if of[name] >= thresholds[name] else "negative"
                known = not np.isnan(thresholds[name])
                row += [f"{thresholds[name]:.4f}", decision if known else ""]
            rows.append(row)
        # Not st.table, which needs PyArrow, whose releases of today need NumPy 2.
        st.markdown("\n".join(f"| {' | '.join(row)} |" for row in rows))
    with picture:
        finding = st.selectbox("Heat map of", order)
        st.image(
            heat_map(whole, maps[CLASS_NAMES.index(finding)], finding, of[finding]),
            caption=f"{upload.name}, and where the network looks for {finding}: "
            "the brighter, the more it speaks for the finding",
        )


main()
