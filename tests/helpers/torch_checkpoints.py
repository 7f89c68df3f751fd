"""PyTorch checkpoints in every form that people keep them in."""

import re

import torch
from safetensors.torch import save_file


def old_spelling(name):
    """norm1 -> norm.1 inside dense layers, as torchvision had it when the reference was trained."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name)


def monai_spelling(name):
    """As MONAI's DenseNet121 names its tensors (1.6)."""
    name = re.sub(r"(denselayer\d+)\.(norm|conv)", r"\1.layers.\2", name)
    return re.sub(r"classifier(\.0)?\.", "class_layers.out.", name)


def channels_last(tensor):
    """The same values, as a network on a GPU often keeps them in memory."""
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def scattered(tensor):
    """The same values in memory that is in no order: of every other place, the last axis first."""
    if not tensor.ndim:
        return tensor
    memory = torch.zeros(*reversed(tensor.shape), 2, dtype=tensor.dtype)
    view = memory[..., 0].permute(*reversed(range(tensor.ndim)))
    return view.copy_(tensor)


def expanded(tensor):
    """The first value in each place: one number in memory."""
    return tensor.flatten()[:1].expand(tensor.numel()).view(tensor.shape)


def rewritten(
    state,
    prefix="",
    old=False,
    half=False,
    plain_head=False,
    counters=True,
    parameters=False,
    layout=None,
    head=None,
    spelling=None,
):
    """A state dict as other projects keep it."""
    new = {}
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked") and not counters:
            continue
        if half and tensor.is_floating_point():
            tensor = tensor.to(torch.float16 if half is True else half)
        if layout is not None:
            tensor = layout(tensor)
        if parameters and tensor.is_floating_point():
            tensor = torch.nn.Parameter(tensor)
        if plain_head:
            name = name.replace("classifier.0.", "classifier.")
        if head:
            name = name.replace("classifier.0.", head)
        name = spelling(name) if spelling else name
        new[prefix + (old_spelling(name) if old else name)] = tensor
    return new


FORMATS = {
    # the reference release: no counters, PyTorch 0.3's serialisation, an epoch beside the weights
    "reference": (
        {"prefix": "module.densenet121.", "old": True, "counters": False},
        {"legacy": True, "wrap": "state_dict"},
    ),
    "reference in half precision": (
        {"prefix": "module.densenet121.", "old": True, "counters": False, "half": True},
        {"legacy": True, "wrap": "state_dict"},
    ),
    "today's torchvision": ({"plain_head": True}, {}),
    "bare": ({}, {}),
    "parameters": ({"parameters": True}, {}),
    "channels last": ({"layout": channels_last}, {}),
    "channels last in half precision": ({"layout": channels_last, "half": True}, {"legacy": True}),
    "bfloat16": ({"half": torch.bfloat16, "layout": channels_last}, {"wrap": "net"}),
    "strides of every kind": ({"layout": scattered}, {}),
    "another prefix": ({"prefix": "net.backbone."}, {"wrap": "model_state_dict"}),
    "MONAI": ({"spelling": monai_spelling}, {}),
    "a head behind a dropout": ({"head": "classifier.1."}, {}),
    "a head called fc": ({"head": "fc.", "prefix": "module."}, {"wrap": "model"}),
    "safetensors": ({}, {"safetensors": True}),
    "half safetensors": ({"half": True}, {"safetensors": True}),
}


def write(state, path, legacy=False, wrap=None, safetensors=False):
    if safetensors:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
        return
    checkpoint = {wrap: state, "epoch": 3, "best_loss": 0.15} if wrap else state
    torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)
