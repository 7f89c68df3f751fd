"""Run a script of this project and say how often it has opened which files.

    python tests/helpers/opened.py .png,.pdparams predict.py film.png --weights w.pdparams --num-workers 0

prints, after what the script prints, a line for each file whose name ends so: `opened 1 film.png`.
Files that other processes open are not counted.
"""  # noqa: E501  (a command in one line)

import atexit
import collections
import os
import runpy
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ENDINGS, SCRIPT = tuple(sys.argv[1].split(",")), os.path.join(ROOT, sys.argv[2])

opened = collections.Counter()


def count(event, details):
    if event == "open" and str(details[0]).endswith(ENDINGS):
        opened[str(details[0])] += 1


def show():
    for path, times in sorted(opened.items()):
        print("opened", times, path)


sys.addaudithook(count)
atexit.register(show)
sys.argv = [SCRIPT, *sys.argv[3:]]
sys.path[0] = ROOT
runpy.run_path(SCRIPT, run_name="__main__")
