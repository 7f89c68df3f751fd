"""Decodes compressed DICOM pixels in a process of its own, as a decoder can end its process.

Broken streams, and some whole ones, make the C++ libraries behind python-gdcm and pylibjpeg abort.
Each process that reads films has at most one such child, begun with its first compressed film. The
child runs this file as a script; what goes through its pipes is a line of JSON and bytes.
"""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading

_lock = threading.Lock()
_child = None  # (process number of its parent, Popen): a forked worker begins its own


class DecoderDied(Exception):
    """The process that decoded a film ended; the text says how."""


class DecoderRefused(Exception):
    """The decoder raised an error; the text is the error's type."""


def decode(stream, plugin, options):
    """Decode one picture.

    Args:
        stream: the encoded picture, bytes.
        plugin: the name of pydicom's plug-in.
        options: dict: `transfer_syntax` and what pydicom's `Decoder.as_array` takes.

    Returns:
        whole numbers, `[H, W]` or `[H, W, 3]`.

    Raises:
        DecoderDied, DecoderRefused.
    """
    import numpy as np

    with _lock:
        child = _running()
        try:
            _send(child.stdin, {"plugin": plugin, **options}, stream)
            answer, content = _receive(child.stdout)
        except (OSError, EOFError):
            status = _end()
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            raise DecoderDied(how) from None
    if "error" in answer:
        raise DecoderRefused(answer["error"])
    return np.frombuffer(content, answer["dtype"]).reshape(answer["shape"])


def _running():
    """Return this process's child; begin it if there is none."""
    global _child
    if _child is None or _child[0] != os.getpid():
        _child = (
            os.getpid(),
            subprocess.Popen(
                [sys.executable, os.path.abspath(__file__)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what an aborting library says
                start_new_session=True,  # Ctrl-C is for the parent to answer; the pipe then closes
            ),
        )
        atexit.register(_stop)
    return _child[1]


def _end():
    """End this process's child, if it has one; return its status, or what it ended with itself."""
    global _child
    (parent, child), _child = _child or (None, None), None
    if parent != os.getpid():
        return 0
    # Closing its pipe would not do: forked workers that live on have it open as well.
    with contextlib.suppress(subprocess.TimeoutExpired):
        return child.wait(0.5)
    child.kill()
    return child.wait()


def _stop():
    if _child and _child[0] == os.getpid():
        _child[1].kill()


def _send(pipe, head, content):
    text = json.dumps({**head, "size": len(content)}).encode()
    pipe.write(text + b"\n")
    pipe.write(content)
    pipe.flush()


def _receive(pipe):
    line = pipe.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    head = json.loads(line)
    content = pipe.read(head["size"])
    if len(content) != head["size"]:
        raise EOFError
    return head, content


def _item(stream):
    """Return a stream as DICOM's encapsulated pixel data, without a pad byte at its end."""
    tag = b"\xfe\xff\x00\xe0"
    return tag + bytes(4) + tag + len(stream).to_bytes(4, "little") + stream


def main():
    """Answer until the pipe is closed."""
    # Libraries print to file 1; the answers go elsewhere.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    from pydicom.pixels import get_decoder

    while True:
        try:
            job, stream = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            decoder = get_decoder(job.pop("transfer_syntax"))
            plugin = job.pop("plugin")
            del job["size"]
            pixels, _ = decoder.as_array(_item(stream), decoding_plugin=plugin, **job)
            head = {"dtype": pixels.dtype.str, "shape": pixels.shape}
            _send(answers, head, pixels.tobytes())
        except Exception as error:  # of any type: hostile bytes reach all of the plug-ins
            _send(answers, {"error": type(error).__name__}, b"")


if __name__ == "__main__":
    del sys.path[0]  # this folder: its modules are not top-level ones
    main()
