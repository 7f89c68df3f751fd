"""Files read with suspicion and written whole."""

import contextlib
import hashlib
import json
import os
import pickle

import numpy as np


class UserError(ValueError):
    """Something only the user can put right; a script shows it as one `error:` line.

    The message reads `<where>: want <what>, got <what>; <what to do>`.
    """


def first_line(error):
    """Return the first line of an exception's message, or its type's name if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]


@contextlib.contextmanager
def write_whole(path, mode="wb"):
    """Open `path` for writing so that it is there complete or not at all.

    What is written goes to `path.tmp`, which takes the name `path` once it is on the disk. After an
    exception, a full disk among them, `path` is what it was before and `path.tmp` is gone.

    Args:
        path: the file to write; its folder is made if need be.
        mode: `"wb"`, or `"w"` for UTF-8 text.

    Yields:
        The open file.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    partial = f"{path}.tmp"
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        with open(partial, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(partial)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk is reported without a name
        raise


def write_json(path, content):
    """Write a dict as JSON, whole."""
    with write_whole(path, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


def sha256(path):
    """Return the SHA-256 of a file as 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def read_safetensors(path):
    """Read a .safetensors file: dict from tensor name to NumPy array.

    Raises:
        UserError: the file is broken, or holds numbers that NumPy has not (bfloat16, float8).
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: want a safetensors file of float16 or float32, could not read it "
            f"({first_line(error)}); download it again or convert it"
        ) from None


def read_pickle(path):
    """Read a file of `paddle.save`: containers, numbers, strings and NumPy arrays, nothing else.

    Raises:
        UserError: the file names anything else, which unpickling would have run, or is no pickle.
    """
    try:
        with open(path, "rb") as file:
            return _resolve(_Unpickler(file).load())
    except _ForbiddenName as error:
        raise UserError(
            f"{path}: want tensors alone, got a pickle that calls {error}; "
            "it was not run; get the weights from a source you trust"
        ) from None
    except OSError:
        raise
    except Exception as error:  # a broken pickle can raise anything
        raise UserError(
            f"{path}: want a complete .pdparams file, could not read it "
            f"({first_line(error)}); "
            "download it again"
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
    """Stands in for numpy.dtype in a pickle: numbers alone."""

    def __init__(self, name, *ignored):
        self.dtype = np.dtype(name)
        if self.dtype.kind not in "fiub":
            raise _ForbiddenName(f"numpy.dtype({name!r})")

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(state[1])


def _scalar(dtype, data):
    return np.frombuffer(data, dtype.dtype)[0].item()


class _Unpickler(pickle.Unpickler):
    """Admits the names that NumPy arrays and Paddle's containers need, and none of the real things.

    Not even numpy.ndarray itself: it can be called in ways that read memory which is not its own.
    """

    admitted = {
        ("numpy", "ndarray"): _PickledArray,
        ("numpy", "dtype"): _PickledDtype,
        ("collections", "OrderedDict"): dict,
        # bytes, as pickle protocol 2 writes them
        ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
    }
    for _core in ("numpy.core.multiarray", "numpy._core.multiarray"):  # NumPy 1, NumPy 2
        admitted[_core, "_reconstruct"] = _PickledArray
        admitted[_core, "scalar"] = _scalar

    def __init__(self, file):
        super().__init__(file, encoding="latin1")

    def find_class(self, module, name):
        try:
            return self.admitted[module, name]
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
