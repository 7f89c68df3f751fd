"""The server of `predict.py --serve`."""

import importlib.util
import os
import socket
import threading
from typing import NamedTuple

from films.film_pixels import Reading
from inference.activation_maps import TenCropMaps
from runtime.files import UserError, first_line


class Page(NamedTuple):
    """What the page shows films with.

    Attributes:
        layer: the network.
        crop_size, resize: pixels.
        reading: how films are read.
        thresholds: what `read_thresholds` returned, or None.
        values: what `read_reference` returned, or None.
        other: why `values` or `thresholds` are of another network, or None.
    """

    layer: TenCropMaps
    crop_size: int
    resize: int
    reading: Reading
    thresholds: dict | None
    values: dict | None
    other: str | None


# Streamlit runs streamlit_page.py in threads of this process, and passes it nothing.
served = []
one_film = threading.Lock()  # the network takes one at a time


def check_server(host, port):
    """Raise UserError where Streamlit is not installed, or the port cannot be had."""
    if importlib.util.find_spec("streamlit") is None:
        raise UserError("--serve: the package streamlit is not installed; pip install streamlit")
    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--host {host} --port {port}: cannot listen there ({first_line(error)}); "
            "give another --port"
        ) from None


def serve(page, host, port):
    """Serve a `Page`, until a signal ends it, as Streamlit's own command line does.

    Streamlit keeps uploads in memory, where Gradio writes them to a folder.
    """
    from streamlit.web import cli  # here: only --serve needs it

    settings = {
        "server.address": host,
        "server.port": port,
        "server.headless": "true",  # open no browser
        "server.maxUploadSize": 100,  # MB
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
    }
    served.append(page)
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "streamlit_page.py")
    cli.main(["run", script, *(f"--{name}={value}" for name, value in settings.items())])
