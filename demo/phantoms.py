"""Draw synthetic chest phantoms laid out as ChestX-ray14, for `make demo` and the tests.

    python demo/phantoms.py --output-dir demo/data

ends with

    wrote 700 films of 300 patients (480 train, 60 val, 160 test) to demo/data

Each of the 14 findings has a drawn sign that suits its name, a class of your own has a disc below
the lungs, and several occur together. They are cartoons: what a network learns from them says
nothing about patients.
"""

import concurrent.futures
import os
import sys
import zlib

import numpy as np
from PIL import Image, ImageFilter

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from runtime import command_line  # before Paddle

# isort: split
from films.label_lists import CLASS_NAMES
from runtime.command_line import natural_int, positive_int
from runtime.files import write_whole
from runtime.progress import progress_bar

SIDE = 1024  # pixels, as NIH's films
GRID = 256  # drawn at this size, enlarged to SIDE
PREVALENCE = 0.2  # of each finding; they are drawn independently of one another
RGBA_SHARE = 0.02  # NIH has a few hundred RGBA files
# What labels/SOURCE.txt says, and the page of an evaluation with it.
SOURCE = (
    "synthetic chest phantoms, drawn by demo/phantoms.py with labels to match: cartoons, which say "
    "nothing about patients."
)

# Coordinates run from 0 to 1, x to the right, y downwards.
Y, X = np.mgrid[0:GRID, 0:GRID].astype(np.float32) / GRID


def ellipse(x, y, rx, ry, softness=0.08):
    """Return a mask `[GRID, GRID]`, 1 inside the ellipse and 0 outside, with a soft edge."""
    distance = np.sqrt(((X - x) / rx) ** 2 + ((Y - y) / ry) ** 2)
    return np.clip((1 + softness - distance) / (2 * softness), 0, 1)


def band(x0, y0, x1, y1, width):
    """Return a mask, 1 on the stroke from (x0, y0) to (x1, y1), with soft edges."""
    dx, dy = x1 - x0, y1 - y0
    along = np.clip(((X - x0) * dx + (Y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
    distance = np.hypot(X - x0 - along * dx, Y - y0 - along * dy)
    return np.clip(1.5 - distance / width, 0, 1)


def clouds(rng, scale):
    """Return smooth noise in [0, 1], `[GRID, GRID]`, with blobs `scale` of the side wide."""
    cells = max(2, int(1 / scale))
    coarse = Image.fromarray(rng.random((cells, cells)).astype(np.float32))
    return np.clip(np.asarray(coarse.resize((GRID, GRID), Image.BICUBIC)), 0, 1)


class Phantom:
    """One film: healthy anatomy, varied from film to film, to which the signs are added.

    Attributes:
        picture: float32 `[GRID, GRID]`, 0 black (air) to 1 white (bone, metal).
        lungs: the two lungs' masks, that on the viewer's left first.
    """

    def __init__(self, rng, findings):
        self.rng = rng
        emphysema = "Emphysema" in findings
        self.shift = rng.normal(0, 0.012, 2)
        self.spread = rng.normal(0.165, 0.006)
        dx, dy = self.shift
        reach = 0.34 if emphysema else rng.normal(0.27, 0.01)
        self.lungs = [
            ellipse(0.5 + dx + side * self.spread, 0.44 + dy, 0.135, reach) for side in (-1, 1)
        ]
        # A diaphragm: domed, or pressed flat by too much air.
        dome = 0.0 if emphysema else 0.45
        self.base = (0.74 if emphysema else 0.66) + dy + rng.normal(0, 0.008)
        for n, side in enumerate((-1, 1)):
            from_middle = (X - (0.5 + dx + side * self.spread)) / 0.135
            floor = self.base + 0.12 * dome * from_middle**2 - 0.02 * (side < 0)
            self.lungs[n] = self.lungs[n] * np.clip((floor - Y) * 60 + 0.5, 0, 1)
        self.picture = self._anatomy(emphysema, "Cardiomegaly" in findings)
        for finding in findings:
            if finding not in ("Cardiomegaly", "Emphysema"):  # they change the anatomy itself
                draw = getattr(self, f"_{finding.lower()}", None)
                draw() if draw else self._of_your_own(finding)

    def _anatomy(self, emphysema, cardiomegaly):
        rng, (dx, dy) = self.rng, self.shift
        picture = 0.08 + 0.5 * ellipse(0.5 + dx, 0.62, 0.44, 0.62, 0.05)
        air = np.maximum(*self.lungs)
        markings = 0.13 * clouds(rng, 0.03) * (0.35 if emphysema else 1)
        picture -= air * ((0.42 if emphysema else 0.33) - markings)
        for n in range(8):  # ribs
            arc = Y - (0.16 + 0.07 * n + 1.1 * (X - 0.5 - dx) ** 2 + dy)
            picture += 0.05 * np.exp(-((arc / 0.011) ** 2)) * air
        picture += 0.16 * ellipse(0.5 + dx, 0.5, 0.055, 0.6, 0.3)  # spine and mediastinum
        width = rng.normal(0.205, 0.006) if cardiomegaly else rng.normal(0.115, 0.006)
        if emphysema and not cardiomegaly:
            width *= 0.85
        heart = ellipse(0.535 + dx, 0.585 + dy, width, 0.7 * width + 0.04, 0.06)
        return picture + 0.3 * heart * np.maximum(air, 0.2)

    def _side(self):
        """Choose a lung; return its number and the x of its middle."""
        n = self.rng.integers(2)
        return n, 0.5 + self.shift[0] + (2 * n - 1) * self.spread

    def _add(self, mask, brightness):
        self.picture += brightness * mask

    def _of_your_own(self, finding):  # below the lungs, where it has a place by its name
        place = zlib.crc32(finding.encode()) / 2**32
        self._add(ellipse(0.15 + 0.7 * place, 0.9, 0.03, 0.03), 0.45)

    def _atelectasis(self):  # plates of collapsed lung above the diaphragm
        n, x = self._side()
        for step in range(2):
            y = self.base - 0.1 - 0.06 * step + self.rng.normal(0, 0.01)
            self._add(band(x - 0.1, y + 0.02, x + 0.1, y - 0.03, 0.014) * self.lungs[n], 0.4)

    def _effusion(self):  # a blunted angle: fluid with a meniscus that rises along the chest wall
        n, x = self._side()
        outward = (X - x) * (2 * n - 1) / 0.135
        level = self.base - 0.09 - self.rng.uniform(0, 0.06) - 0.08 * np.clip(outward, 0, 1) ** 2
        self._add(np.clip((Y - level) * 60 + 0.5, 0, 1) * self.lungs[n], 0.42)

    def _infiltration(self):  # an ill-defined mottled haze
        n, x = self._side()
        haze = ellipse(x, 0.42 + self.rng.normal(0, 0.03), 0.13, 0.16, 0.5)
        self._add(haze * (clouds(self.rng, 0.05) > 0.5) * self.lungs[n], 0.26)

    def _mass(self):  # round, larger than three centimetres
        _, x = self._side()
        x, y = x + self.rng.uniform(-0.05, 0.05), self.rng.uniform(0.28, 0.5)
        self._add(ellipse(x, y, 0.062, 0.062, 0.1), 0.48)

    def _nodule(self):  # round, small
        _, x = self._side()
        x, y = x + self.rng.uniform(-0.07, 0.07), self.rng.uniform(0.25, 0.55)
        self._add(ellipse(x, y, 0.024, 0.024, 0.2), 0.65)

    def _pneumonia(self):  # an upper lobe filled down to its fissure
        n, _ = self._side()
        fissure = 0.37 + self.rng.normal(0, 0.01)
        lobe = np.clip((fissure - Y) * 60 + 0.5, 0, 1) * self.lungs[n]
        self._add(lobe * (0.7 + 0.3 * clouds(self.rng, 0.04)), 0.34)

    def _pneumothorax(self):  # a dark rim without markings, and the white edge of the lung
        n, x = self._side()
        outward = (X - x) * (2 * n - 1) / 0.135
        edge = 0.25 + self.rng.uniform(0, 0.1)
        rim = np.clip((outward - edge) * 12, 0, 1) * self.lungs[n]
        self.picture = self.picture * (1 - 0.93 * rim)
        self._add(np.exp(-(((outward - edge) / 0.07) ** 2)) * self.lungs[n], 0.25)

    def _consolidation(self):  # a dense lower zone, with the dark branches of open bronchi
        n, x = self._side()
        zone = ellipse(x, self.base - 0.1, 0.14, 0.13, 0.1) * self.lungs[n]
        self._add(zone, 0.36)
        for tilt in (-0.06, 0.0, 0.06):
            self._add(band(x, self.base - 0.22, x + tilt, self.base, 0.008) * zone, -0.22)

    def _edema(self):  # bat wings: haze on both sides of the heart
        for side in (-1, 1):
            x = 0.5 + self.shift[0] + 0.6 * side * self.spread
            self._add(ellipse(x, 0.45 + self.shift[1], 0.09, 0.17, 0.5), 0.27)

    def _fibrosis(self):  # a net of lines in the lower halves of both lungs
        net = np.maximum(np.sin((X + Y) * 150), np.sin((X - Y) * 150)) > 0.75
        low = np.clip((Y - 0.42) * 20, 0, 1) * np.maximum(*self.lungs)
        self._add(net * low, 0.28)

    def _pleural_thickening(self):  # a bright rind along the chest wall and over the apex
        n, x = self._side()
        inner = ellipse(x - (2 * n - 1) * 0.03, 0.47, 0.115, 0.25, 0.05)
        self._add((1 - inner) * (Y < 0.5) * self.lungs[n], 0.5)

    def _hernia(self):  # a stomach behind the heart: a ring, air above fluid
        x, y = 0.5 + self.shift[0] + self.rng.normal(0, 0.01), self.base - 0.02
        sac, air = ellipse(x, y, 0.095, 0.085), ellipse(x, y, 0.075, 0.065)
        self._add(sac, 0.22)
        self._add(air * (y > Y), -0.65)

    def film(self):
        """Return the film, uint8 `[SIDE, SIDE]`."""
        grain = self.rng.normal(0, 0.025, (GRID, GRID))
        exposure = self.rng.normal(1, 0.05)
        grey = np.clip((self.picture + grain) * exposure * 255, 0, 255).astype(np.uint8)
        small = Image.fromarray(grey).filter(ImageFilter.GaussianBlur(0.6))
        return np.asarray(small.resize((SIDE, SIDE), Image.BICUBIC))


def write_film(job):
    """Draw and write one film; a job is (path, labels of 14 flags, seed)."""
    path, flags, seed = job
    rng = np.random.default_rng(seed)
    findings = [name for name, flag in zip(CLASS_NAMES, flags, strict=True) if flag]
    image = Image.fromarray(Phantom(rng, findings).film())
    if rng.random() < RGBA_SHARE:
        image = image.convert("RGBA")
    with write_whole(path) as file:
        image.save(file, format="PNG", compress_level=1)


def draw_patients(rng, films, first_patient):
    """Divide films among patients, one to four each; return their names and the next patient."""
    names, patient = [], first_patient
    while len(names) < films:
        count = min(films - len(names), int(rng.integers(1, 5)))
        names += [f"{patient:08d}_{number:03d}.png" for number in range(count)]
        patient += 1
    return names, patient


def parse_args():
    parser = command_line.ArgumentParser(__doc__)
    parser.add_argument("--output-dir", default="demo/data")
    for split, films in (("train", 480), ("val", 60), ("test", 160)):
        parser.add_argument(f"--{split}", type=positive_int, default=films, help="films")
    parser.add_argument("--seed", type=natural_int, default=0)
    return parser.parse_args()


def main():
    args = parse_args()
    rng = np.random.default_rng(args.seed)
    jobs, lists, patient = [], {}, 1
    for split in ("train", "val", "test"):
        names, patient = draw_patients(rng, getattr(args, split), patient)
        labels = (rng.random((len(names), len(CLASS_NAMES))) < PREVALENCE).astype(int)
        lists[split] = []
        for name, row in zip(names, labels, strict=True):
            path = os.path.join(args.output_dir, "images", name)
            jobs.append((path, row, (args.seed, len(jobs))))
            lists[split].append(f"{name} {' '.join(map(str, row))}\n")
    os.makedirs(os.path.join(args.output_dir, "images"), exist_ok=True)
    with concurrent.futures.ProcessPoolExecutor() as pool:
        for _ in progress_bar(
            pool.map(write_film, jobs, chunksize=8), total=len(jobs), unit="film"
        ):
            pass
    with write_whole(os.path.join(args.output_dir, "labels", "SOURCE.txt"), "w") as file:
        file.write(SOURCE + "\n")
    # The lists come last: a folder with lists has its films.
    for split, lines in lists.items():
        path = os.path.join(args.output_dir, "labels", f"{split}_list.txt")
        with write_whole(path, "w") as file:
            file.writelines(lines)
    counts = ", ".join(f"{len(lines)} {split}" for split, lines in lists.items())
    print(f"wrote {len(jobs)} films of {patient - 1} patients ({counts}) to {args.output_dir}")


if __name__ == "__main__":
    command_line.run(main)
