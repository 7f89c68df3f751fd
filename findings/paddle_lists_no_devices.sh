#!/usr/bin/env bash
# Guess: paddle.device.get_available_device() names at least the CPU, and every GPU where there are some.
# Behaviour: without custom devices plugged in it returns an empty list: in 2.6.2, whose GPU wheel answers so too, whatever cards
# there are, and in the CPU build of 3.3.1. paddle.device.cuda.device_count() counts cards in each.
# Versions: paddlepaddle 2.6.2 and 3.3.1. Source: the packages, run here. 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for paddle in "2.6.2 1.26.4" "3.3.1 2.4.6"; do
    set -- $paddle
    python3 -m venv "$folder/$1"
    "$folder/$1/bin/pip" install --quiet setuptools==80.9.0 "paddlepaddle==$1" "numpy==$2"
    "$folder/$1/bin/python" - <<'PYTHON'
import sys

import paddle

found = paddle.device.get_available_device(), paddle.device.cuda.device_count()
print("Paddle", paddle.__version__, *found)
sys.exit(found != ([], 0))
PYTHON
done
