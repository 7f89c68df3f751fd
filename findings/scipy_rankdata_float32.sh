#!/usr/bin/env bash
# Guess: scipy.stats.rankdata returns float64 ranks, as its documentation has it, so that their sum is exact.
# Behaviour: up to 1.17 it does. From 1.18 on ranks have the precision of what is ranked: of float32 scores, which networks give,
# they are float32, and an AUROC from the sum of the positive ranks is wrong from about the 8th digit.
# Versions: SciPy 1.17.1 and 1.18.1, NumPy 2.4.6, Python 3.13 (1.18 wants 3.12). Run here, 2026-11-28.
set -eu
for python in ${PYTHON:-python3 python3.12 python3.13}; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && break
    python=""
done
test -n "$python" || { echo "needs Python 3.12 or later: PYTHON=/path/to/python $0"; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for pair in "1.17.1 float64" "1.18.1 float32"; do
    set -- $pair
    "$python" -m venv "$folder/$1"
    "$folder/$1/bin/pip" install --quiet "scipy==$1" numpy==2.4.6
    "$folder/$1/bin/python" - "$2" <<'PYTHON'
import sys

import numpy as np
import scipy

scores = np.random.default_rng(0).random(20_001).astype(np.float32)
ranks, exact = scipy.stats.rankdata(scores), scipy.stats.rankdata(scores.astype(np.float64))
positive = np.arange(len(scores)) % 2 == 0
difference = float(ranks[positive].sum()) - exact[positive].sum()
print("SciPy", scipy.__version__, "ranks are", ranks.dtype, "their sum differs by", difference)
sys.exit(str(ranks.dtype) != sys.argv[1])
PYTHON
done
