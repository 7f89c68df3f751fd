"""Pages: their text, what a browser asked for, and the server of `predict.py --serve`."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

from helpers.places import ROOT

# A page that loads itself again, as a service worker has it do, has no body for a moment.
TEXT = "document.body?.innerText ?? ''"


def text_of(browser):
    """Return what can be read of the page in a browser of Selenium."""
    return browser.execute_script(f"return {TEXT}")


def has_text(browser, text):
    """Tell whether the page in a browser of Selenium says a text."""
    return text in text_of(browser)


def requests_of(browser):
    """Return the addresses that a browser has asked for since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


def requests_begun_by(browser, origin):
    """Return the addresses that pages of an origin, their workers and service workers asked for."""
    begun = rf'"initiator":"{re.escape(origin)}".*?"url":"([^"]*)"'  # an event a line
    return set(re.findall(begun, browser.net_log.read_text(errors="replace")))


@contextlib.contextmanager
def served(*words):
    """The page, on a port that is free: its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, ROOT / "predict.py", "--serve", "--port", port, *words]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(3000):
            assert process.poll() is None, process.stdout.read()
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}_stcore/health").read()
                break
            time.sleep(0.1)
        yield url, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=300)
