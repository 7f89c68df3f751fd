"""Weight files read without running code that is hidden in them."""

import pickle

import numpy as np

from runtime.files import UserError, first_line, refuse_placeholder


def read_safetensors(path):
    """Read a .safetensors file: dict from tensor name to NumPy array.

    Raises:
        UserError: the file is broken, or holds a type that NumPy does not have (bfloat16, float8).
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        refuse_placeholder(path)
        raise UserError(
            f"{path}: not a safetensors file of float16 or float32 ({first_line(error)}); "
            "download it again or convert it"
        ) from None


# How files of torch.save begin: a ZIP archive, or the magic number of the legacy form, pickled.
_TORCH_BEGINNINGS = (b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")


def is_torch_checkpoint(path):
    """Tell whether a file begins as PyTorch's do, whatever its name."""
    with open(path, "rb") as file:
        return file.read(16).startswith(_TORCH_BEGINNINGS)


def read_pickle(path):
    """Read a file of `paddle.save`: containers, numbers, strings and NumPy arrays, nothing else.

    Raises:
        UserError: the file is no pickle, or refers to anything else, which unpickling could run.
    """
    try:
        with open(path, "rb") as file:
            return _resolve(_Unpickler(file).load())
    except _ForbiddenName as error:
        raise UserError(
            f"{path}: want only tensors, got a pickle that calls {error}; "
            "it was not run; get the weights from a source you trust"
        ) from None
    except OSError:
        raise
    except Exception as error:  # a broken pickle can raise anything
        refuse_placeholder(path)
        raise UserError(
            f"{path}: not a complete .pdparams file ({first_line(error)}); "
            "give another, or download it again"
        ) from None


class _ForbiddenName(Exception):
    pass


class _PickledArray:
    """Stands in for numpy.ndarray in a pickle: fields are checked before use."""

    def __init__(self, *ignored):
        self.array = None

    def __setstate__(self, state):
        _, shape, dtype, fortran, data = state
        array = np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if fortran else "C")
        self.array = array


class _PickledDtype:
    """Stands in for numpy.dtype in a pickle: only numbers."""

    def __init__(self, name, *ignored):
        self.dtype = np.dtype(name)
        if self.dtype.kind not in "fiub":
            raise _ForbiddenName(f"numpy.dtype({name!r})")

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(state[1])


class _Unpickler(pickle.Unpickler):
    """Allows the names that NumPy arrays and Paddle's containers need, through stand-ins.

    Not even numpy.ndarray itself: it can be called in ways that read memory which is not its own.
    """

    allowed = {
        ("numpy", "ndarray"): _PickledArray,
        ("numpy", "dtype"): _PickledDtype,
        ("collections", "OrderedDict"): dict,
        # bytes, as pickle protocol 2 writes them
        ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
    }
    for _core in ("numpy.core.multiarray", "numpy._core.multiarray"):  # NumPy 1, NumPy 2
        allowed[_core, "_reconstruct"] = _PickledArray
        allowed[_core, "scalar"] = lambda dtype, data: np.frombuffer(data, dtype.dtype)[0].item()

    def __init__(self, file):
        super().__init__(file, encoding="latin1")

    def find_class(self, module, name):
        try:
            return self.allowed[module, name]
        except KeyError:
            raise _ForbiddenName(f"{module}.{name}") from None

    def persistent_load(self, pid):
        raise _ForbiddenName("persistent_load")


def _resolve(value):
    """Replace the stand-ins in nested containers by arrays."""
    if isinstance(value, _PickledArray):
        return value.array
    if isinstance(value, dict):
        return {key: _resolve(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_resolve(item) for item in value)
    return value
