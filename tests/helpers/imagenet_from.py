"""Run a script that takes Paddle's ImageNet weights from another address.

python tests/helpers/imagenet_from.py http://127.0.0.1:8000/FILE MD5 train.py --data-dir ...
"""

import pathlib
import runpy
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)

from runtime import environment  # noqa: F401  (before Paddle)

# isort: split
import paddle

if __name__ == "__main__":
    address, md5, script, *sys.argv[1:] = sys.argv[1:]
    paddle.vision.models.densenet.model_urls["densenet121"] = address, md5
    sys.argv[0] = script
    runpy.run_path(str(ROOT / script), run_name="__main__")
