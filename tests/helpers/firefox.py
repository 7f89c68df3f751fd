"""A headless Firefox, driven by WebDriver BiDi, which it speaks itself: it needs no driver."""

import contextlib
import itertools
import json
import re
import subprocess

from helpers.pages import TEXT
from helpers.processes import wait_for


class Firefox:
    """One tab of a Firefox with a new profile in `folder`. Firefox 129 or later.

    The commands are those of https://w3c.github.io/webdriver-bidi.
    """

    def __init__(self, program, folder):
        import websocket

        settings = {  # nothing that it asks for on its own account
            "datareporting.policy.dataSubmissionEnabled": False,
            "network.connectivity-service.enabled": False,
            "network.captive-portal-service.enabled": False,
            "services.settings.server": "data:,",
            # ONNX Runtime's start with threads does not always end here (docs/web_page.md).
            "dom.maxHardwareConcurrency": 1,
        }
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in settings.items()]
        (folder / "user.js").write_text("\n".join(lines))
        words = ["--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", folder]
        log = folder / "log"  # a pipe that nobody reads would stop it
        with open(log, "w") as file:
            self.process = subprocess.Popen([program, *words], stdout=file, stderr=file)
        listening = re.compile(r"BiDi listening on (ws://\S+)")
        address = wait_for(lambda: listening.search(log.read_text(errors="replace")), 120)[1]
        self.numbers = itertools.count()
        self.socket = websocket.create_connection(
            f"{address}/session", suppress_origin=True, timeout=300
        )
        self("session.new", capabilities={})
        self.tab = self("browsingContext.getTree")["contexts"][0]["context"]

    def __call__(self, method, **parameters):
        """Send a command; return its result."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv())).get("id") != number:
            pass  # an event
        assert answer["type"] == "success", answer
        return answer["result"]

    def get(self, url):
        """Open a page."""
        self("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    def value(self, expression):
        """Return what an expression is in the page: a text, a number, true or false."""
        found = self(
            "script.evaluate",
            expression=f"JSON.stringify(({expression}) ?? null)",
            target={"context": self.tab},
            awaitPromise=False,
        )
        assert found["type"] == "success", found
        return json.loads(found["result"]["value"])

    def text(self):
        """Return what can be read of the page."""
        return self.value(TEXT)

    def give(self, element_id, *paths):
        """Give an input element files."""
        locator = {"type": "css", "value": f"#{element_id}"}
        found = self("browsingContext.locateNodes", context=self.tab, locator=locator)
        element = {"sharedId": found["nodes"][0]["sharedId"]}
        files = list(map(str, paths))
        self("input.setFiles", context=self.tab, element=element, files=files)

    def quit(self):
        """End it."""
        with contextlib.suppress(OSError, AssertionError):
            self("browser.close")
        self.socket.close()
        self.process.terminate()
        self.process.wait(30)
