#!/usr/bin/env bash
# Guess: safetensors.numpy.save writes an array's values, as np.save does, whatever its strides.
# Behaviour: 0.7.0 does. 0.8.0 writes the array's memory as it lies, with the array's shape: a
# transposed or channels-last array is read back with its values in other places, without a word.
# So torch.Tensor.numpy() of a channels-last network, and Paddle's x.t().numpy(), are scrambled.
# Versions: safetensors 0.7.0 and 0.8.0, NumPy 2.4.6. Source: the packages, run here. 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/try.py" <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from safetensors.numpy import load, save

values = np.arange(6.0).reshape(2, 3).T  # [[0, 3], [1, 4], [2, 5]]
found = load(save({"t": values}))["t"]
print("safetensors", version("safetensors"), "NumPy", np.__version__, found.tolist())
as_values, as_memory = [[0, 3], [1, 4], [2, 5]], [[0, 1], [2, 3], [4, 5]]
sys.exit(found.tolist() != (as_memory if sys.argv[1] == "memory" else as_values))
PYTHON
for want in "0.7.0 values" "0.8.0 memory"; do
    set -- $want
    python3 -m venv "$folder/$1"
    "$folder/$1/bin/pip" install --quiet "safetensors==$1" numpy==2.4.6
    "$folder/$1/bin/python" "$folder/try.py" "$2"
done
