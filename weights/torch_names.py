"""Which of PyTorch's tensors is which of Paddle's, in DenseNet-121."""

import re

BLOCKS = (6, 12, 24, 16)  # dense layers in each dense block (Huang et al. 2017, table 1)

# torch's name within `features` (or the head) -> Paddle's within `densenet121`. The reference
# release has torchvision's old spelling, norm.1 for norm1; MONAI has layers.norm1.
_NORM_FIELDS = {
    "weight": "weight",
    "bias": "bias",
    "running_mean": "_mean",
    "running_var": "_variance",
}
# Heads of one linear layer: torchvision's, in a Sequential, behind a dropout, MONAI's, others'.
_HEAD = re.compile(
    r"(?:^|\.)(?:classifier(?:\.[01])?|class_layers\.out|fc(?:\.[01])?|head|last_linear)"
    r"\.(weight|bias)$"
)
_NAME_RULES = [
    (r"features\.(?:conv|norm)0", lambda m: "conv1_func"),
    (
        r"features\.denseblock(\d)\.denselayer(\d+)\.(?:layers\.)?(?:conv|norm)\.?([12])",
        lambda m: f"db_conv_{int(m[1]) + 1}.conv{int(m[1]) + 1}_{m[2]}.bn_ac_func{m[3]}",
    ),
    (
        r"features\.transition(\d)\.(?:conv|norm)",
        lambda m: f"tr_conv{int(m[1]) + 1}_blk.conv_ac_func",
    ),
]


def paddle_name(name):
    """Return Paddle's name for a tensor of torchvision's DenseNet-121, or None if it is not one.

    Args:
        name: torch's, or another's, with any prefix before `features.` or the head.
    """
    if head := _HEAD.search(name):
        return f"densenet121.out.0.{head[1]}"
    found = re.search(r"(?:^|\.)(features\..+)$", name)
    if not found:
        return None
    module, _, field = found[1].rpartition(".")
    if module == "features.norm5" and field in _NORM_FIELDS:
        return f"densenet121.batch_norm.{_NORM_FIELDS[field]}"
    for pattern, place in _NAME_RULES:
        match = re.fullmatch(pattern, module)
        if match and re.search(r"norm[.\d]*$", module) and field in _NORM_FIELDS:
            return f"densenet121.{place(match)}._batch_norm.{_NORM_FIELDS[field]}"
        if match and re.search(r"conv[.\d]*$", module) and field == "weight":
            return f"densenet121.{place(match)}._conv.weight"
    return None


def torchvision_names():
    """Return the names of torchvision's `densenet121`, in its order, the head a `Sequential`."""
    norm = [*_NORM_FIELDS, "num_batches_tracked"]
    names = ["features.conv0.weight", *(f"features.norm0.{field}" for field in norm)]
    for block, layers in enumerate(BLOCKS, 1):
        for layer in range(1, layers + 1):
            for n in (1, 2):
                place = f"features.denseblock{block}.denselayer{layer}"
                names += [*(f"{place}.norm{n}.{field}" for field in norm)]
                names += [f"{place}.conv{n}.weight"]
        if block < len(BLOCKS):
            place = f"features.transition{block}"
            names += [*(f"{place}.norm.{field}" for field in norm), f"{place}.conv.weight"]
    names += [f"features.norm5.{field}" for field in norm]
    return [*names, "classifier.0.weight", "classifier.0.bias"]
