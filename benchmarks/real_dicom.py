"""Every DICOM file below a folder, read by this project and, where it is installed, by DCMTK.

    python benchmarks/real_dicom.py FOLDER --output real_dicom.csv

writes a row a file: what `read_film` says of it (nothing where it reads it), seconds, what DCMTK
says, and the largest and mean difference of the grey values. DCMTK (Debian: dcmtk) is told to use
what the file has, a VOI LUT before a window, as `read_film` does. It does not decode JPEG 2000.
"""

import argparse
import io
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import numpy as np
import pydicom
from PIL import Image

from films.csv_rows import write_rows
from films.film_paths import is_film
from films.film_pixels import Reading, read_film
from runtime.files import UserError

COLUMNS = ["file", "modality", "transfer syntax", "read_film says", "seconds"]
COLUMNS += ["DCMTK says", "largest difference", "mean difference"]
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
DCMTK = shutil.which("dcm2img") or shutil.which("dcmj2pnm")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--output", default="real_dicom.csv", help="the table")
    return parser.parse_args()


def main(args):
    paths = sorted(path for path in args.folder.rglob("*") if path.is_file())
    rows = [row(path, args.folder) for path in paths if is_film(str(path))]
    write_rows(args.output, COLUMNS, (row.values() for row in rows))
    read = sum(not row["read_film says"] for row in rows)
    compared = [row["largest difference"] for row in rows if row["largest difference"] != ""]
    near = sum(difference <= 1 for difference in compared)
    print(
        f"wrote {args.output}: {len(rows)} files, {read} read, {len(compared)} compared with "
        f"DCMTK, {near} within one grey level"
    )


def row(path, folder):
    """Read a file by both; return what goes into the table, dict by column."""
    found = dict.fromkeys(COLUMNS, "") | {"file": path.relative_to(folder).as_posix()}
    header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    syntax = getattr(header, "file_meta", {}).get("TransferSyntaxUID")
    found |= {
        "modality": header.get("Modality", ""),
        "transfer syntax": getattr(syntax, "name", ""),
    }
    start, film = time.perf_counter(), None
    try:
        film = read_film(path, None, "", Reading(any_modality=True))[0]
    except UserError as error:
        found["read_film says"] = str(error).removeprefix(": ").replace(f"{path}: ", "")
    found["seconds"] = round(time.perf_counter() - start, 3)
    other, found["DCMTK says"] = read_by_dcmtk(path, header) if DCMTK else (None, "not installed")
    if film is not None and other is not None and film.shape != other.shape:
        found["DCMTK says"] = f"another size, {other.shape}"
    elif film is not None and other is not None:
        difference = np.abs(film.astype(int) - other)
        found["largest difference"] = int(difference.max())
        found["mean difference"] = round(float(difference.mean()), 4)
    return found


def read_by_dcmtk(path, header):
    """Return DCMTK's grey values, uint8 `[H, W]`, and ""; or None and what it says."""
    options = []
    if any("LUTData" in item for item in header.get("VOILUTSequence") or []):
        options = ["--use-voi-lut", "1"]
    elif "WindowCenter" in header:
        options = ["--use-window", "1"]
    with tempfile.TemporaryDirectory() as folder:
        target, plain = pathlib.Path(folder) / "film.pgm", pathlib.Path(folder) / "plain.dcm"
        if "dcmj2pnm" in DCMTK and header.file_meta.get("TransferSyntaxUID") in JPEG_LS:
            subprocess.run(["dcmdjpls", path, plain], capture_output=True)  # in dcm2img itself
            path = plain
        command = [DCMTK, "--no-overlays", *options, "--write-raw-pnm", path, target]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode or not target.exists():
            lines = [line for line in result.stderr.splitlines() if line[:2] in ("E:", "F:")]
            return None, lines[0] if lines else f"exit status {result.returncode}"
        with Image.open(io.BytesIO(target.read_bytes())) as image:
            return np.asarray(image.convert("L")), ""


if __name__ == "__main__":
    main(parse_args())
