"""Starting the page of `predict.py --serve`."""

import importlib.util
import os
import socket
import sys

from model import CheXNet, load_weights
from runtime.files import UserError, first_line


def serve(args):
    """Become the server of streamlit_page.py, as Streamlit's own command line starts it.

    Streamlit keeps uploads in memory, where Gradio writes them to a folder.

    Args:
        args: of predict.py.

    Raises:
        UserError: Streamlit is not installed, the weights cannot be used, or the port is taken.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise UserError("--serve: the package streamlit is not installed; pip install streamlit")
    load_weights(CheXNet(), args.weights)  # what is wrong with them is said here
    try:
        with socket.create_server((args.host, args.port)):
            pass
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--host {args.host} --port {args.port}: cannot listen there ({first_line(error)}); "
            "give another --port"
        ) from None
    settings = {
        "server.address": args.host,
        "server.port": args.port,
        "server.headless": "true",  # open no browser
        "server.maxUploadSize": 100,  # MB
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    ours = ["--weights", args.weights, "--resize", str(args.resize)]
    ours += ["--crop-size", str(args.crop_size), "--device", args.device]
    ours += ["--thresholds", args.thresholds] if args.thresholds else []
    ours += ["--reference", args.reference] if args.reference else []
    ours += ["--window={},{}".format(*args.window)] if args.window else []
    ours += ["--any-modality"] if args.any_modality else []
    folder = os.path.dirname(os.path.abspath(__file__))
    # Streamlit runs the page as a script: it finds the project's modules by this variable.
    others = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([os.path.dirname(folder), *([others] if others else [])])
    page = os.path.join(folder, "streamlit_page.py")
    command = [sys.executable, "-m", "streamlit", "run", page, *options, "--", *ours]
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path})
