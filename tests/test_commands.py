"""Every command of README and docs: its options exist, and it runs after the lines above it.

Commands run as they stand on the pages, but for `SMALLER`, which adds what makes phantoms do.
What is not run is in `NOT_RUN`, with the reason, and the page says what it needs.
"""

import itertools
import re
import shlex
import subprocess

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
SIZES = "--resize 72 --crop-size 64"
SMALLER = {
    r"python train\.py (?!--help)": f"--epochs 1 --pretrained none --batch-size 8 {SIZES}",
    r"python eval\.py .*--boxes": "--no-report --resize 144 --crop-size 128",
    r"python eval\.py .*--(predictions|compare)": "--no-report",
    r"python eval\.py": f"--no-report {SIZES}",
    r"python (predict|export)\.py": SIZES,
    r"python prepare_data\.py download": "--no-verify --mirror {mirror}",
}
# A small folder has fewer films than a list of ChestX-ray14's: `check` says so by its status.
STATUS = {r"python prepare_data\.py check": (0, 1)}


def of_page(page):
    return str(page.relative_to(ROOT))


def found(table, text, default=None):
    """What a table has for the first pattern that a command begins with."""
    return next((value for begin, value in table.items() if re.match(begin, text)), default)


def check_make(words):
    """Have make show a target's commands, and the scripts parse theirs."""
    shown = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    for line in re.sub(r"\\\n\s*", "", shown.stdout).splitlines():
        if command := re.match(r"\S*python3? (\w+\.py) (.*)", line):
            assert parsed(command[1], shlex.split(command[2]))[0] is None, line


@pytest.mark.parametrize("page", PAGES, ids=of_page)
def test_every_command_is_one(page):
    for command in commands_of(page.read_text()):
        words, script = command.words(), command.script()
        if words[0] == "make":
            check_make(words[1:])
        elif script and script[0].startswith("benchmarks/"):
            pass  # some import PyTorch before they parse: see below
        elif words[:3] == ["python", "-m", "pytest"]:
            files = [ROOT / word for word in words if word.startswith("tests")]
            text = "".join(file.read_text() for file in files if file.is_file())
            named = words[words.index("-k") + 1].split(" or ") if "-k" in words else []
            assert [name for name in named if not re.search(rf"def test_\w*{name}", text)] == []
        elif script:
            status, text = parsed(*script)
            assert status is None or "--help" in words, f"{command.text}: {text}"
        for flag, name in itertools.pairwise(words):
            assert words[0] != "pip" or flag != "-r" or (ROOT / name).exists(), command.text


@pytest.mark.parametrize("page", PAGES, ids=of_page)
def test_a_page_says_what_a_command_needs_that_is_not_run_here(page):
    for command in commands_of(page.read_text()) if of_page(page) not in DIARIES else ():
        reason, said = found(NOT_RUN, command.plain(), (None, ""))
        assert re.search(said, command.near), f"{command.text}: not run here, as it {reason}"


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


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if of_page(page) not in DIARIES], ids=of_page
)
def test_the_commands_of_a_page_run(
    page, forked, script, server, phantoms, random_weights, checkpoints, tmp_path, monkeypatch
):
    from helpers.user_folder import fill_mirror, write_downloads, write_own

    commands = [
        command
        for command in commands_of(page.read_text())
        if found(NOT_RUN, command.plain()) is None
    ]
    if not commands:
        return
    monkeypatch.chdir(tmp_path)
    fill_mirror(server, phantoms, checkpoints[0])
    write_own(tmp_path, phantoms, random_weights, checkpoints[1])
    if page.name != "README.md" or page.parent != ROOT:  # which begins with nothing
        write_downloads(tmp_path, phantoms, random_weights, checkpoints[0])
    failed = []
    for command in commands:
        more = found(SMALLER, command.plain(), "").format(mirror=server.base).split()
        name, words = command.script()
        run = script if name == "export.py" else forked  # it has a flag set before Paddle
        result = run(name, *words, *more, cwd=tmp_path)
        good = found(STATUS, command.plain(), (0,))
        if result.returncode not in good:
            failed.append(f"{command.text}\n{result.stdout[-500:]}{result.stderr[-1500:]}")
    assert not failed, "\n\n".join(failed)
