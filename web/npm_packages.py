"""The npm packages that the page of `export.py --format web` runs on: pinned, fetched by npm."""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
from typing import NamedTuple

from runtime.files import UserError

INSTALL_NODE = "install Node.js 18 or later, which has npm (https://nodejs.org)"


class Package(NamedTuple):
    """A package of the npm registry, and what the page needs of it.

    Attributes:
        name, version: as npm knows it.
        integrity: SHA-512 of its archive, base64, as npm states it.
        files: dict from a file's path in the package to its path below the package's folder.
        changes: dict from such a path to (text, instead) that makes the file an ES module which a
            browser loads without a build step; the text is there once.
        licence: a file of ours, where the package lacks its own, or one of what is compiled in it.
    """

    name: str
    version: str
    integrity: str
    files: dict
    changes: dict = {}
    licence: str = ""

    @property
    def folder(self):
        """Name of its folder."""
        return self.name.removeprefix("@").replace("/", "-")

    @property
    def licences(self):
        """Paths of its licences, below its folder."""
        return [path for path in self.files.values() if "LICENSE" in path] + (
            ["LICENSE.txt"] if self.licence else []
        )


def _same(*paths):
    # With an extension, so that servers and browsers know a licence for text.
    return {path: f"{path}.txt" if path == "LICENSE" else path for path in paths}


def _as_module(name):
    # What emscripten writes for CommonJS; Node.js is to load it as a browser does.
    return [
        (f"var {name} = (", "export default ("),
        ("var ENVIRONMENT_IS_NODE=", "var ENVIRONMENT_IS_NODE=false&&"),
    ]


# ONNX Runtime's .mjs files are called .js: some servers do not know .mjs for a script.
PACKAGES = (
    Package(
        "onnxruntime-web",
        "1.30.0",
        "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
        {
            "dist/ort.wasm.min.mjs": "dist/ort.wasm.min.js",
            "dist/ort-wasm-simd-threaded.mjs": "dist/ort-wasm-simd-threaded.js",
            "dist/ort-wasm-simd-threaded.wasm": "dist/ort-wasm-simd-threaded.wasm",
        },
        licence="onnxruntime-web.txt",
    ),
    Package(
        "fast-png",
        "8.0.0",
        "gCysNasJ8KEMgfdYIKd/wTDo6ENK1PWT0RJO7O+0pgmuHPw2O6tA1WvdxFRJoLf9V8yFYpG0FA1YgI8X97OhJA==",
        _same(
            "LICENSE",
            "lib/index.js",
            "lib/convert_indexed_to_rgb.js",
            "lib/internal_types.js",
            "lib/png_decoder.js",
            "lib/png_encoder.js",
            "lib/types.js",
            "lib/helpers/apply_unfilter.js",
            "lib/helpers/crc.js",
            "lib/helpers/decode_interlace_adam7.js",
            "lib/helpers/decode_interlace_null.js",
            "lib/helpers/signature.js",
            "lib/helpers/text.js",
            "lib/helpers/unfilter.js",
        ),
        {
            f"lib/{name}.js": [
                ("from 'fflate'", "from '../../fflate/esm/browser.js'"),
                ("from 'iobuffer'", "from '../../iobuffer/lib/iobuffer.js'"),
            ]
            for name in ("png_decoder", "png_encoder")
        },
    ),
    Package(
        "iobuffer",
        "6.0.1",
        "SZWYkWNfjIXIBYSDpXDYIgshqtbOPsi4lviawAEceR1Kqk+sHDlcQjWrzNQsii80AyBY0q5c8HCTNjqo74ul+Q==",
        _same("LICENSE", "lib/iobuffer.js", "lib/text.js"),
    ),
    Package(
        "fflate",
        "0.8.3",
        "tbZNuJrLwGUp3zshBtdy4W+ORxZuIh8a5ilyIEQDC5rY1f3U20JMry0Ll3WBzU58EZKsEuJFXhb5gwv8CsPvgA==",
        _same("LICENSE", "esm/browser.js"),
    ),
    Package(
        "@jsquash/jpeg",
        "1.6.0",
        "zwN46Awh1VM6gXlIcALwb5WzqK5H2e6+Awcs1QP8AvS8ohsK/sbE4esvmH4jhlhW7+CgiUUww66vg0aTnlSIMA==",
        _same(
            "LICENSE",
            "codec/LICENSE.codec.md",
            "decode.js",
            "meta.js",
            "utils.js",
            "codec/dec/mozjpeg_dec.js",
            "codec/dec/mozjpeg_dec.wasm",
        ),
    ),
    Package(
        "dicom-parser",
        "1.8.21",
        "lYCweHQDsC8UFpXErPlg86Px2A8bay0HiUY+wzoG3xv5GzgqVHU3lziwSc/Gzn7VV7y2KeP072SzCviuOoU02w==",
        _same("LICENSE", "dist/dicomParser.min.js"),
        {"dist/dicomParser.min.js": [("}(this,function(", "}(globalThis,function(")]},
    ),
    Package(
        "jpeg-lossless-decoder-js",
        "2.1.2",
        "fYf/plymnuKwVw+s8gJ8O/BPw8y8OLaN11MBvEcT05kuy3m45o7BEC4J0JbxMNUYyO+MdK/I/jq0q1gkVYZm2Q==",
        _same("LICENSE", "release/lossless.js"),
    ),
    Package(
        "@cornerstonejs/codec-charls",
        "1.2.7",
        "kNfQ7J8LIrfQUbt56fPJ0SEvevLlAAbsLHjqPS4DUDWVSuAHb5Fn0cMIV/U0SYkJRJqKvzyLJYF1hl7/xQGqLQ==",
        _same("dist/charlswasm_decode.js", "dist/charlswasm_decode.wasm"),
        {"dist/charlswasm_decode.js": _as_module("CharLSWASM")},
        licence="charls.txt",
    ),
    Package(
        "@cornerstonejs/codec-openjpeg",
        "1.3.6",
        "bSdZXF+2GxfBkWHUr7yGLQtIwbAm9wOl3e4ARee/9Z9lfKyVqhUCixI6+ZjIn9YKTIuDcn/NZNK94XEUg1SBtw==",
        _same("dist/openjpegwasm_decode.js", "dist/openjpegwasm_decode.wasm"),
        {"dist/openjpegwasm_decode.js": _as_module("OpenJPEGWASM")},
        licence="openjpeg.txt",
    ),
)


def fetch_packages(folder):
    """Write what the page needs of each package into a folder of its own below `folder`.

    Raises:
        UserError: npm is missing or fails, or an archive is not the one that is pinned.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            f"--format web: npm, which fetches ONNX Runtime, is not installed; {INSTALL_NODE}"
        )
    archives = os.path.join(folder, "archives")
    os.makedirs(archives)
    for package in PACKAGES:
        path = _fetch(npm, package, archives)
        _unpack(package, path, os.path.join(folder, package.folder))
    shutil.rmtree(archives)


def _fetch(npm, package, folder):
    """Have npm fetch a package's archive, or take it from npm's own cache; return its path."""
    wanted = f"{package.name}@{package.version}"
    command = [npm, "pack", wanted, "--silent", "--ignore-scripts", "--prefer-offline"]
    result = subprocess.run(
        [*command, "--pack-destination", os.path.abspath(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    if result.returncode:
        reasons = [line for line in result.stderr.splitlines() if line.strip()] or ["no reason"]
        raise UserError(
            f"--format web: want npm to fetch {wanted}, got status {result.returncode} "
            f"({reasons[0][:160]}); check the network, and npm's registry"
        )
    path = os.path.join(folder, result.stdout.split()[-1])
    with open(path, "rb") as file:
        found = base64.b64encode(hashlib.sha512(file.read()).digest()).decode()
    if found != package.integrity:
        raise UserError(
            f"--format web: want {wanted} with SHA-512 {package.integrity[:12]}…, got "
            f"{found[:12]}…; check npm's registry"
        )
    return path


def _unpack(package, archive, folder):
    with tarfile.open(archive) as tar:
        for source, target in package.files.items():
            content = tar.extractfile(f"package/{source}").read()
            for text, instead in package.changes.get(source, ()):
                old, new = text.encode(), instead.encode()
                if content.count(old) != 1:
                    raise ValueError(f"{package.name}/{source}: want {text!r} once")
                content = content.replace(old, new)
            path = os.path.join(folder, target)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
    if package.licence:
        ours = os.path.join(os.path.dirname(os.path.abspath(__file__)), "licences", package.licence)
        shutil.copyfile(ours, os.path.join(folder, "LICENSE.txt"))
