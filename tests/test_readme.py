"""The two READMEs say the same, and every page names only what there is."""

import json
import re

import pytest
from helpers.commands import code_in, commands_of, options_of
from helpers.places import ROOT

SCRIPTS = ("train", "eval", "predict", "export", "prepare_data", "convert_torch_weights")
SCRIPTS += ("reproduce",)


@pytest.fixture(scope="module")
def readmes():
    return {lang: (ROOT / f"README{lang}.md").read_text() for lang in ("", ".zh-CN")}


def blocks(text):
    """What stands in code blocks, without the comments, which are translated."""
    found = re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S)
    return [re.sub(r"\s*(#.*)?$", "", block, flags=re.M) for block in found]


def test_the_two_are_in_step(readmes):
    english, chinese = readmes.values()
    shapes = [re.findall(r"^(#+) ", text, re.M) for text in (english, chinese)]
    assert shapes[0] == shapes[1]
    ours, theirs = (
        [block for block in blocks(text) if "<64" not in block] for text in (english, chinese)
    )
    assert ours == theirs
    ours, theirs = (
        [command.words() for command in commands_of(text)] for text in (english, chinese)
    )
    assert ours == theirs
    assert [set(re.findall(r"`(--[a-z][\w-]*)", text)) for text in (english, chinese)] == [
        set(re.findall(r"`(--[a-z][\w-]*)", english))
    ] * 2
    # Every figure of four digits or more, thousands and addresses included.
    figures = [set(re.findall(r"\d[\d.,e-]*\d{2,}", text)) for text in (english, chinese)]
    assert figures[0] ^ figures[1] == set()
    assert "README.zh-CN.md" in english and "(README.md)" in chinese
    assert "Not for clinical use" in english and "不得用于临床" in chinese


def test_the_figures_of_the_training_here_are_those_of_its_files(readmes):
    folder = ROOT / "logs" / "2026-11-28_1444_films_224"
    ours, difference = (
        json.loads((folder / name).read_text())
        for name in ("test_metrics.json", "test_comparison.json")
    )
    expected = [
        f"{found[key]:{form}} ({low:{form}} to {high:{form}})"
        for found, key, form in (
            (ours, "auroc_mean", ".3f"),
            (difference, "mean_difference", "+.3f"),
        )
        for low, high in [found[f"{key}_95_percent"]]
    ]
    for text in readmes.values():
        assert [words for words in expected if words not in text] == []
        assert f"{ours['images']} " in text and "1,444" in text


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md")])


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_option_that_is_named_is_there(name):
    """Also of commands that are not whole, such as `eval.py --boxes` in a sentence."""
    there = options_of(f"{name}.py")
    commands = []
    for page in PAGES:
        for code in code_in(page.read_text()):
            whole = code.replace("\\\n", " ")  # a line that goes on
            commands += re.findall(rf"(?<![\w/]){name}\.py([^\n#`]*)", whole)
    assert any(command.strip() for command in commands)
    for command in commands:
        if name == "prepare_data" and (action := re.match(r" (\w+)", command)):
            there = options_of("prepare_data.py", action[1])
        named = re.findall(r"(?<![\w-])--[a-z][\w-]*", command)
        assert set(named) <= there, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_command_and_target_that_a_page_names_is_there(page):
    files = {path.name for path in ROOT.glob("*")} | {path.name for path in ROOT.glob("*/*")}
    files.add("model_card.md")  # eval.py writes it
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if link.startswith("../../actions/"):  # GitHub's page of the workflow of that name
            assert (ROOT / ".github" / "workflows" / link.split("/")[4]).exists()
            continue
        assert link.startswith("http") or (page.parent / link).exists(), link
    for code in code_in(page.read_text()):
        code = re.sub(r"git show \w+:\S+", "", code)  # what an earlier commit had
        for path in re.findall(r"(?<![\w./-])((?:[\w-]+/)*[\w-]+\.(?:py|md|cff|toml))\b", code):
            assert (ROOT / path).exists() or path in files, f"{path} in {code!r}"
        for target in re.findall(r"(?:^|&& |`)make ([a-z][\w-]*)", code, re.M):
            assert target in targets, target


def test_the_figures_by_radiologists_are_those_of_their_file():
    found = json.loads((ROOT / "logs" / "2026-11-28_adjudicated" / "metrics.json").read_text())
    assert (found["images"], found["patients"]) == (935, 353)
    text = (ROOT / "docs" / "evaluation.md").read_text()
    for name in ("Pneumothorax", "Nodule or mass"):
        of = found["other_labels"]["by_finding"][name]
        both, ours, theirs = (
            of[f"positive_{kind}"] for kind in ("in_both", "here_only", "there_only")
        )
        cells = [
            f"{of[key]:{form}} ({low:{form}} to {high:{form}})"
            for key, form in (("auroc", ".3f"), ("auroc_by_others", ".3f"), ("difference", "+.3f"))
            for low, high in [of[f"{key}_95_percent"]]
        ]
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {name} (")]
        assert row.endswith(f"| {' | '.join(cells)} |")
        counts = (both + ours, 935, both + theirs, both)
        assert re.findall(r"\d+", row.split("|")[1]) == [str(number) for number in counts]
