"""How long a film takes to read, by the kind of its file, beside Pillow's own way.

    python benchmarks/film_reading.py

writes the films of ../shared/sample in other forms, reads each to 256 pixels with `read_film`, in
turn with `convert("RGB")` and a resize of all three channels, and prints the times. They go to
benchmarks/RESULTS.md.
"""

import io
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import numpy as np
from ours import FILMS
from PIL import Image
from pydicom import Dataset, dcmwrite, uid
from pydicom.dataset import FileMetaDataset
from results_file import add_output_argument, machine, table, write_section

from films.film_pixels import read_film
from runtime import command_line

ROUNDS = 7  # the best of them counts
SIDE = 256


def parse_args():
    parser = command_line.ArgumentParser(__doc__)
    parser.add_argument("--films", type=command_line.positive_int, default=16, help="how many")
    add_output_argument(parser)
    return parser.parse_args()


KINDS = {
    "PNG": lambda grey: saved(grey, "PNG"),
    "PNG, 16 bits": lambda grey: saved(grey * np.uint16(257), "PNG"),
    "JPEG": lambda grey: saved(grey, "JPEG"),
    "DICOM": lambda grey: dicom(grey),
    "DICOM, 16 bits": lambda grey: dicom(grey * np.uint16(257)),
    "DICOM, JPEG 2000": lambda grey: dicom(grey, uid.JPEG2000Lossless),
}
PILLOW_READS = ("PNG", "JPEG")


def main(args):
    films = [read_film(path, None)[0] for path in FILMS[: args.films]]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, write in KINDS.items():
            paths = [pathlib.Path(folder) / f"{kind} {n}" for n in range(len(films))]
            for path, film in zip(paths, films, strict=True):
                path.write_bytes(write(film))
            baseline, ours = [], []
            for _ in range(ROUNDS):
                ours.append(seconds(read_film, paths))
                if kind in PILLOW_READS:
                    baseline.append(seconds(pillow, paths))
            rows.append([kind, "", f"{1e3 * min(ours):.1f} ms", ""])
            if baseline:
                rows[-1][1::2] = f"{1e3 * min(baseline):.1f} ms", f"{min(baseline) / min(ours):.2f}"
    text = (
        f"# Results of `benchmarks/film_reading.py`\n\n{machine()}. {len(films)} real films of "
        f"1024 pixels, written in each form by Pillow and pydicom and read to {SIDE}; a film, best "
        f"of {ROUNDS} rounds. Pillow's way resizes three equal channels.\n\n"
        + table(["file", "Pillow's way", "`read_film`", "ratio"], rows)
    )
    write_section(text, args.output)


def saved(pixels, kind):
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, kind)
    return target.getvalue()


def dicom(pixels, syntax=uid.ExplicitVRLittleEndian):
    """Return the bytes of a DICOM file of grey values, uint8 or uint16 `[H, W]`."""
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    film.SOPClassUID, film.SOPInstanceUID = uid.SecondaryCaptureImageStorage, uid.generate_uid()
    film.Modality = "DX"
    film.set_pixel_data(pixels, "MONOCHROME2", 8 * pixels.itemsize)
    if syntax.is_compressed:
        film.compress(syntax, generate_instance_uid=False)
    target = io.BytesIO()
    dcmwrite(target, film, enforce_file_format=True)
    return target.getvalue()


def seconds(read, paths):
    """Return how long a film takes."""
    start = time.perf_counter()
    for path in paths:
        read(path, SIDE)
    return (time.perf_counter() - start) / len(paths)


def pillow(path, side):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((side, side), Image.BILINEAR))


if __name__ == "__main__":
    command_line.run(main, parse_args())
