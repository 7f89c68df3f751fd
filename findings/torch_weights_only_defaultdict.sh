#!/usr/bin/env bash
# Guess: a checkpoint with a collections.defaultdict in it loads with weights_only=True once that class is in
# torch.serialization.safe_globals, as the error message proposes.
# Behaviour: it does not: the unpickler fills dict, OrderedDict and Counter only, and raises "Can only SETITEM for ...".
# A function that returns a plain dict, registered under that name, loads it.
# Versions: torch 2.13.0 (CPU). Source: the package, run here. 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder/checkpoint.pth" <<'PYTHON'
import collections
import pickle
import sys

import torch
from torch.serialization import safe_globals

torch.save({"seen": collections.defaultdict(int, a=1), "w": torch.zeros(2)}, sys.argv[1])


def load(names):
    with safe_globals(names):
        try:
            return dict(torch.load(sys.argv[1], weights_only=True)["seen"])
        except pickle.UnpicklingError as error:
            return "Can only SETITEM" in str(error)


proposed = load([collections.defaultdict, int])
plain = load([(lambda *factory: {}, "collections.defaultdict"), int])
print("torch", torch.__version__, "as proposed:", proposed, "as a plain dict:", plain)
sys.exit((proposed, plain) != (True, {"a": 1}))
PYTHON
