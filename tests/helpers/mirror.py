"""A server on 127.0.0.1 that misbehaves when told to, and a mirror of all that a download wants."""

import gzip
import http.server
import io
import re
import tarfile
import threading
import time

from public_data import download


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`, name -> bytes; `tricks`, name -> what to do to the next requests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.tricks, self.requests = {}, {}, []
        self.let_go = threading.Event()
        self.base = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        name = self.path.lstrip("/")
        tricks = self.server.tricks.get(name, []) if body else []
        trick = tricks.pop(0) if tricks else ""
        asked = self.headers["Range"]
        self.server.requests.append((self.command, name, asked))
        if trick == "503" or name not in self.server.files:
            self.send_response(503 if trick == "503" else 404)
            self.send_header("Retry-After", "0")
            self.end_headers()
            return
        content = self.server.files[name]
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and trick != "no range" else 0
        if start >= len(content):
            self.send_response(416)
            self.end_headers()
            return
        rest = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        stated = {"claims more": len(rest) + 999, "claims less": len(rest) - 999}
        if trick != "no length":
            self.send_header("Content-Length", str(stated.get(trick, len(rest))))
        self.end_headers()
        if not body:
            return
        if trick == "cut":
            rest = rest[: len(rest) // 3]
        if trick == "hold":
            self.wfile.write(rest[: len(rest) // 2])
            self.server.let_go.wait()
            return
        if trick == "slow":
            for n in range(0, len(rest), 100_000):
                self.wfile.write(rest[n : n + 100_000])
                time.sleep(0.1)
            return
        self.wfile.write(rest)

    def log_message(self, *words):
        pass


class Huge(bytes):
    """Claims to be of 1 TB."""

    def __len__(self):
        return 10**12

    def __getitem__(self, key):
        return self


def archive(members):
    """A .tar.gz of (name, content) or (name, TarInfo type, link) members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, *what in members:
            info = tarfile.TarInfo(name)
            if len(what) == 2:
                info.type, info.linkname = what
                tar.addfile(info)
            else:
                info.size = len(what[0])
                tar.addfile(info, io.BytesIO(what[0]))
    return buffer.getvalue()


def fill(server, data_dir):
    """Put the films and lists of a data folder, and a small file for all else, on a server."""
    for name, (url, _) in download.LABELS.items():
        content = b"not the real one"
        path = data_dir / "labels" / name
        if path.exists():
            content = path.read_bytes()
        packed = url.endswith(".csv.gz")
        server.files[name + ".gz" * packed] = gzip.compress(content) if packed else content
    for name in download.WEIGHTS:
        server.files[name] = b"weights"
    films = sorted((data_dir / "images").iterdir())
    for n, name in enumerate(download.ARCHIVES):
        members = [(f"images/{film.name}", film.read_bytes()) for film in films[n::12]]
        server.files[f"{name}.tar.gz"] = archive(members)
