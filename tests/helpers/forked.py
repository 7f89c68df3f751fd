"""Run scripts in processes that need not import Paddle, which takes a second: forks of this one.

    server = Server()
    server.run(["eval.py", "--batch-size", "0"])  # -> subprocess.CompletedProcess

A fork has its own arguments, folder, output, exit status and end as any process of a script. What
a script does before Paddle is imported is not seen here: tests/test_command_line.py sees that.
"""

import gc
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Server:
    """A process with Paddle imported, which forks for each `run`."""

    def __init__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        command = [sys.executable, os.path.abspath(__file__)]
        self.process = subprocess.Popen(command, text=True, stderr=subprocess.DEVNULL, **pipes)

    def run(self, words, cwd=None, timeout=600):
        """Run a script of the project with these words; it is killed after `timeout` seconds."""
        with tempfile.TemporaryDirectory() as folder:
            outputs = [os.path.join(folder, name) for name in ("stdout", "stderr")]
            request = [words, str(cwd or os.getcwd()), outputs, timeout]
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            status = int(self.process.stdout.readline())
            texts = [pathlib.Path(path).read_text() for path in outputs]
        return subprocess.CompletedProcess(words, status, *texts)

    def close(self):
        # Not by closing its stdin: forks of the tests' own process hold that pipe too.
        self.process.kill()
        self.process.communicate()


def serve():
    """Fork for each line of stdin and print how the fork ended; return the line in the fork."""
    for line in sys.stdin:
        fork = os.fork()
        if fork == 0:
            return json.loads(line)
        _, status = os.waitpid(fork, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit()


def become(words, cwd, outputs, timeout):
    """Make this fork the process of a script; return the script's path."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    signal.alarm(timeout)
    os.chdir(cwd)
    script = ROOT / words[0]
    sys.argv = [str(script), *words[1:]]
    sys.path[0] = str(script.parent)
    return str(script)


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    from runtime import environment  # noqa: F401  (before Paddle)

    # isort: split
    # What scripts load behind it, too: most of a second.
    import jinja2  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import paddle  # noqa: F401
    import scipy.optimize
    import scipy.stats  # noqa: F401
    import sklearn.metrics  # noqa: F401

    gc.freeze()  # what is here now is collected in no fork, which would copy its pages
    runpy.run_path(become(*serve()), run_name="__main__")
