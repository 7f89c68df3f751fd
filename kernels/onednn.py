"""oneDNN as Paddle's wheel brings it, through its C interface: primitives on Paddle's CPU tensors.

Constants and calls are those of oneDNN 3 (https://uxlfoundation.github.io/oneDNN/).
"""

import ctypes
import functools
import os

import paddle

CPU, IN_ORDER, FLOAT32, ANY = 1, 1, 3, 1
SWITCH = "CHEXNET_ONEDNN"  # "off", or the path of another build of the library
ADD = 0x1FFF0  # an algorithm
AVX512 = 0x20  # the bit in dnnl_get_effective_cpu_isa()
# What a primitive is told to work on, by the argument's number, and how to ask for its layout.
SOURCE, OTHER_SOURCE, TARGET, WEIGHTS = 1, 2, 17, 33
MEAN, VARIANCE, SCALE, SHIFT, WORKSPACE = 49, 50, 51, 52, 64
DIFF_SOURCE, DIFF_TARGET, DIFF_WEIGHTS, DIFF_SCALE, DIFF_SHIFT = 129, 145, 161, 255, 256
_QUERIES = {
    SOURCE: 129,
    DIFF_SOURCE: 130,
    WEIGHTS: 131,
    DIFF_WEIGHTS: 132,
    TARGET: 133,
    DIFF_TARGET: 134,
    WORKSPACE: 135,
}
Dims = ctypes.c_int64 * 12


class _Argument(ctypes.Structure):
    _fields_ = (("number", ctypes.c_int), ("memory", ctypes.c_void_p))


class _Version(ctypes.Structure):
    _fields_ = (*((part, ctypes.c_int) for part in ("major", "minor", "patch")),)  # and more


@functools.cache
def _found():
    """Return the library, and what to say of it; None and why not where it cannot be used."""
    wanted = os.environ.get(SWITCH, "")
    if wanted == "off":
        return None, f"{SWITCH}=off"
    if paddle.is_compiled_with_cuda():
        return None, "this Paddle is built for CUDA"  # not tried there
    path = wanted or os.path.join(os.path.dirname(paddle.__file__), "libs", "libdnnl.so.3")
    try:
        found = ctypes.CDLL(path)
        found.dnnl_version.restype = ctypes.POINTER(_Version)
        found.dnnl_memory_desc_get_size.restype = ctypes.c_size_t
        found.dnnl_primitive_desc_query_md.restype = ctypes.c_void_p
        found.dnnl_memory_desc_create_with_string_tag  # noqa: B018  (is it there?)
        version = found.dnnl_version().contents
    except (OSError, AttributeError):
        return None, f"Paddle {paddle.__version__} brings no oneDNN 3 that can be loaded"
    said = f"oneDNN {version.major}.{version.minor}.{version.patch}"
    return (found, said) if version.major == 3 else (None, f"{said} is not version 3")


def library():
    """Return oneDNN as Paddle brings it; None where it cannot be used."""
    return _found()[0]


def describe():
    """Return in words what computes a network on the CPU in dygraph."""
    found, said = _found()
    return said if found else f"Paddle's own ({said})"


@functools.cache
def block():
    """Return how many channels lie together in memory: as many as a vector register holds."""
    return 16 if library().dnnl_get_effective_cpu_isa() & AVX512 else 8


def _call(name, *arguments):
    status = getattr(library(), name)(*arguments)
    if status:
        raise RuntimeError(f"oneDNN: {name} ended with status {status}")


def _made(name, *arguments):
    handle = ctypes.c_void_p()
    _call(name, ctypes.byref(handle), *arguments)
    return handle


@functools.cache
def engine():
    return _made("dnnl_engine_create", CPU, ctypes.c_size_t(0))


@functools.cache
def _stream():
    return _made("dnnl_stream_create", engine(), IN_ORDER)


class Handle:
    """An object of oneDNN's, destroyed with this one; functions of the library take it as it is.

    Args:
        kind: what it is, as in the name of the function that destroys it.
        name: the function that makes it.
        arguments: of that function, after the place for the handle.
    """

    def __init__(self, kind, name, *arguments):
        self._destroy = getattr(library(), f"dnnl_{kind}_destroy")
        self._as_parameter_ = ctypes.c_void_p()  # ctypes asks for this name
        _call(name, ctypes.byref(self._as_parameter_), *arguments)

    def __del__(self):
        self._destroy(self._as_parameter_)


@functools.lru_cache(maxsize=4096)
def layout(shape, tag):
    """Return the descriptor of a float32 array: its shape, and its order in memory.

    Args:
        shape: tuple.
        tag: "any" (the primitive chooses), "blocked" (channels in blocks), or oneDNN's own, as
            "abcd" for rows of rows.
    """
    if tag == "any":
        name, tag = "dnnl_memory_desc_create_with_tag", ANY
    else:
        name = "dnnl_memory_desc_create_with_string_tag"
        tag = (f"aBcd{block()}b" if tag == "blocked" else tag).encode()
    return Handle("memory_desc", name, len(shape), Dims(*shape), FLOAT32, tag)


class Primitive:
    """Something that oneDNN computes, for arrays of given shapes.

    Args:
        kind: which, as in the names of the library's functions: "convolution_forward", ...
        arguments: of `dnnl_<kind>_primitive_desc_create`, between engine and attributes.
        layouts: dict from an argument's number to its `layout`, for what cannot be asked for.
    """

    def __init__(self, kind, *arguments, layouts=None):
        name = f"dnnl_{kind}_primitive_desc_create"
        where = [] if kind == "reorder" else [engine()]
        self.description = Handle("primitive_desc", name, *where, *arguments, None)
        self._primitive = Handle("primitive", "dnnl_primitive_create", self.description)
        self._layouts = dict(layouts or {})

    def layout(self, number):
        """Return the layout that an argument has to have."""
        if number not in self._layouts:
            asked = library().dnnl_primitive_desc_query_md(self.description, _QUERIES[number], 0)
            # A copy: `_reorder` may keep it for longer than this primitive lives.
            clone = "dnnl_memory_desc_clone"
            self._layouts[number] = Handle("memory_desc", clone, ctypes.c_void_p(asked))
        return self._layouts[number]

    def size(self, number):
        """Return how many bytes an argument takes."""
        return library().dnnl_memory_desc_get_size(self.layout(number))

    def __call__(self, tensors):
        """Compute.

        Args:
            tensors: dict from an argument's number to a contiguous CPU tensor, or to an address.
        """
        arguments = (_Argument * len(tensors))()
        try:
            for argument, (number, tensor) in zip(arguments, tensors.items(), strict=True):
                place = tensor if isinstance(tensor, int) else tensor.data_ptr()
                argument.number = number
                memory = _made(
                    "dnnl_memory_create", self.layout(number), engine(), ctypes.c_void_p(place)
                )
                argument.memory = memory.value
            _call("dnnl_primitive_execute", self._primitive, _stream(), len(tensors), arguments)
        finally:
            for argument in arguments:
                library().dnnl_memory_destroy(ctypes.c_void_p(argument.memory))


@functools.lru_cache(maxsize=2048)
def _reorder(source, target):
    """Return the primitive that copies an array from one layout to another."""
    arguments = (source, engine(), target, engine())
    return Primitive("reorder", *arguments, layouts={SOURCE: source, TARGET: target})


def copy(source, have, target, wanted):
    """Copy an array from one layout to another; both are tensors or addresses."""
    _reorder(have, wanted)({SOURCE: source, TARGET: target})


@functools.lru_cache(maxsize=512)
def _sum(size):
    one = layout((size,), "a")
    layouts = {SOURCE: one, OTHER_SOURCE: one, TARGET: one}
    return Primitive("binary", ADD, one, one, one, layouts=layouts)


def add(target, other, size):
    """Add `size` numbers to others in place; both are tensors or addresses."""
    _sum(size)({SOURCE: target, OTHER_SOURCE: other, TARGET: target})
