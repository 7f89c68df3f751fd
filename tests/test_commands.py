"""Every command of README and docs: its options exist, and it runs after the lines above it.

Commands run as they stand on the pages, but for `SMALLER`, which adds what makes phantoms do.
What is not run is in `NOT_RUN`, with the reason, and the page says what it needs.
"""

import itertools
import pathlib
import re
import shlex
import shutil
import subprocess

import paddle
import pytest
from helpers.commands import commands_of, parsed
from helpers.places import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md")])
# Diaries tell of what was run; the Chinese README has the English one's commands (test_readme.py).
DIARIES = {"logs/README.md", "benchmarks/RESULTS.md", "CHANGELOG.md", "README.zh-CN.md"}

# How a command begins -> why it is not run here, and what the page has to say beside it.
NOT_RUN = {
    'pip install|python -m venv|source |uv sync|git clone|cd [^"]': ("installs", ""),
    "git (hash-object FILE|lfs pull)": ("an example", ""),
    "docker ": ("needs Docker", "not built here"),
    "jupyter ": ("needs a browser; test_worked_example.py runs the notebook", "jupyterlab"),
    r"python predict\.py .*--serve": ("runs until Ctrl-C; test_predict.py opens it", "page"),
    r"python -m http\.server": ("runs until Ctrl-C", "open|web server"),
    r"python export\.py .*--format web": ("needs npm; test_web.py makes the page", r"Node\.js"),
    r"python export\.py .*--format (torch|paddle)": ("test_export.py writes all forms", ""),
    r"python -m paddle\.distributed": ("test_distributed.py runs it", "GPU|process|machine"),
    r"python (train|eval)\.py .*--(amp|precision) ": ("needs a card", "compute capability|Ampere"),
    'python -c .*paddle|ln -sf|cd "|export LD_': ("looks for a card", "(?i)card|GPU|CUDA"),
    r"python (train|benchmarks/\w+)\.py .*\.\./shared": ("needs real films", "films"),
    r"python train\.py .*~/": ("is of a place that brings Paddle", "Not run there"),
    "python -m pytest": ("is tests themselves; names after -k are looked up", ""),
    "python benchmarks/": ("takes minutes, or films of the user's", "minutes|time|FOLDER|prints"),
    "make|python reproduce": ("minutes to days; its commands are parsed", ""),
    r"ruff check --fix|ruff format \.": ("changes files", ""),
}
START = "--epochs 1 --pretrained none --batch-size 8 --num-workers 0"
SIZES = "--resize 72 --crop-size 64"
SMALLER = {
    r"python train\.py (?!--help)": f"{START} {SIZES}",
    r"python eval\.py .*--boxes": "--no-report --crops 1 --resize 144 --crop-size 128",
    r"python eval\.py .*--(predictions|compare)": "--no-report",
    r"python eval\.py": f"--no-report --crops 1 --num-workers 0 {SIZES}",
    r"python (predict|export)\.py": SIZES,
    r"python prepare_data\.py download": "--no-verify --mirror {mirror}",
}
# A small folder has fewer films than a list of ChestX-ray14's: `check` says so by its status.
STATUS = {r"python prepare_data\.py check": (0, 1)}
if paddle.__version__.startswith("2."):  # it says that ONNX needs Paddle 3, as the page does
    STATUS[r"python export\.py .*--format onnx"] = (2,)

# Options whose files and folders a command reads, and those that it writes.
READ = "weights predictions compare thresholds_from reference_from thresholds reference metrics"
READ += " data_dir train_list val_list test_list other_labels boxes films checkpoint table"
WRITTEN = "output_dir save_dir output"
# What a user has who reads another page than README: the rows there have made it.
MADE = {"ChestX-ray14", "pretrained_models", "save"}
# What the pages name as the user's own, or as made by others: helpers/user_folder.py writes it.
OWN = {"film.png", "folder", "film.dcm", "mine", "train.csv", "val.csv", "test.csv", ".", "demo"}
OWN |= {"CheXpert-v1.0", "google2019_nih-chest-xray-labels.csv.gz", "densenet121.pth"}
OWN |= {"seed0", "seed1", "seed2", "other", "a", "b", "some_train.txt", "some_test.txt", "/"}
OWN |= {"..", "~"}  # ../shared, and the folders of AI Studio


def of_page(page):
    return page.relative_to(ROOT).as_posix()


def found(table, text, default=None):
    """What a table has for the first pattern that a command begins with."""
    return next((value for begin, value in table.items() if re.match(begin, text)), default)


def check_make(words):
    """Have make show a target's commands, and the scripts parse theirs."""
    shown = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    for line in re.sub(r"\\\n\s*", "", shown.stdout).splitlines():
        if command := re.match(r"\S*python3? (\w+\.py) (.*)", line):
            assert parsed(command[1], shlex.split(command[2]))[0], line


@pytest.mark.parametrize("page", PAGES, ids=of_page)
def test_every_command_is_one(page):
    for command in commands_of(page.read_text()):
        words, script = command.words(), command.script()
        if words[0] == "make":
            if shutil.which("make"):  # Windows has none
                check_make(words[1:])
        elif script and script[0].startswith("benchmarks/"):
            pass  # some import PyTorch before they parse: see below
        elif words[:3] == ["python", "-m", "pytest"]:
            files = [ROOT / word for word in words if word.startswith("tests")]
            text = "".join(file.read_text() for file in files if file.is_file())
            named = words[words.index("-k") + 1].split(" or ") if "-k" in words else []
            assert [name for name in named if not re.search(rf"def test_\w*{name}", text)] == []
        elif script:
            args, text = parsed(*script)
            assert args or "--help" in words, f"{command.text}: {text}"
        for flag, name in itertools.pairwise(words):
            assert words[0] != "pip" or flag != "-r" or (ROOT / name).exists(), command.text


@pytest.mark.parametrize("page", PAGES, ids=of_page)
def test_a_page_says_what_a_command_needs_that_is_not_run_here(page):
    for command in commands_of(page.read_text()) if of_page(page) not in DIARIES else ():
        reason, said = found(NOT_RUN, command.plain(), (None, ""))
        assert re.search(said, command.near), f"{command.text}: not run here, as it {reason}"


def paths_in(args, names):
    """The first folder, or the file, of each path that some options of a command have."""
    for name in names.split():
        values = getattr(args, name, None) or []
        while isinstance(values, list) and values and isinstance(values[0], list):
            values = [value for several in values for value in several]
        for path in [values] if isinstance(values, str) else values:
            yield pathlib.PurePath(path).parts[0] if path != "." else path


@pytest.mark.parametrize("page", PAGES, ids=of_page)
def test_what_a_command_reads_was_written_by_the_lines_above_it_or_is_given(page):
    there = OWN | (set() if page == ROOT / "README.md" else MADE)
    for command in commands_of(page.read_text()) if of_page(page) not in DIARIES else ():
        if not command.script() or "/" in command.script()[0]:
            continue
        args, _ = parsed(*command.script())
        if getattr(args, "action", "") == "download":
            there |= {args.data_dir, args.weights_dir}
        elif args:
            assert [path for path in paths_in(args, READ) if path not in there] == [], command.text
        there |= set(paths_in(args, WRITTEN))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["real_dicom", "coverage", "training_parity", "device", "film_reading", "web_page"]
)
def test_options_of_benchmarks(script, name):
    help_text = script(f"benchmarks/{name}.py", "--help").stdout
    for page in PAGES:
        for command in commands_of(page.read_text()):
            if command.script() and command.script()[0] == f"benchmarks/{name}.py":
                named = [word for word in command.words() if word.startswith("--")]
                assert [word for word in named if word not in help_text] == [], command.text


@pytest.fixture(scope="module")
def checkpoints():
    pytest.importorskip("torch")
    from helpers.user_folder import torch_file

    return torch_file("reference"), torch_file("today's torchvision")


def commands_to_run(pages, done=()):
    """The commands of pages in their order, but for what was run with the same options.

    Other values of an option are parsed (above), and run where nothing else makes their results.
    """
    done, written = {*done}, set()
    for command in [one for page in pages for one in commands_of(page.read_text())]:
        if found(NOT_RUN, command.plain()) is not None:
            continue
        results = set(paths_in(parsed(*command.script())[0], WRITTEN))
        if kind_of(command) in done and results <= written:
            continue
        done.add(kind_of(command))
        written |= results
        yield command


def kind_of(command):
    """A command's script, what it does, and the options that it gives."""
    name, words = command.script()
    modes = [word for word in words if re.fullmatch(r"-?-?[a-z][a-z_-]*", word)]
    return name, *sorted(modes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "of_readme",
    [True, pytest.param(False, marks=pytest.mark.rare)],
    ids=["README", "other pages"],
)
def test_commands_run(
    of_readme, forked, script, server, phantoms, random_weights, checkpoints, tmp_path
):
    """README's begin with an empty folder; those of other pages with what README's have made."""
    from helpers.user_folder import fill_mirror, write_downloads, write_own

    fill_mirror(server, phantoms, checkpoints[0])
    write_own(tmp_path, phantoms, random_weights, checkpoints[1])
    of_first = list(commands_to_run([ROOT / "README.md"]))
    commands = of_first
    if not of_readme:
        write_downloads(tmp_path, phantoms, random_weights, checkpoints[0])
        guides = [page for page in PAGES if of_page(page) not in DIARIES | {"README.md"}]
        commands = list(commands_to_run(guides, map(kind_of, of_first)))
    failed = []
    for command in commands:
        more = found(SMALLER, command.plain(), "").format(mirror=server.base).split()
        name, words = command.script()
        run = script if name == "export.py" else forked  # it has a flag set before Paddle
        result = run(name, *words, *more, cwd=tmp_path)
        if result.returncode not in found(STATUS, command.plain(), (0,)):
            failed.append(f"{command.text}\n{result.stdout[-500:]}{result.stderr[-1500:]}")
    assert not failed, "\n\n".join(failed)
