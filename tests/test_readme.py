"""The two READMEs say the same, and name only what there is."""

import re

import pytest
from conftest import ROOT

SCRIPTS = ("train", "eval", "predict", "export", "prepare_data", "convert_torch_weights")


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
    assert [set(re.findall(r"`(--[a-z][\w-]*)", text)) for text in (english, chinese)] == [
        set(re.findall(r"`(--[a-z][\w-]*)", english))
    ] * 2
    # Every figure of four digits or more, thousands and addresses included.
    figures = [set(re.findall(r"\d[\d.,e-]*\d{2,}", text)) for text in (english, chinese)]
    assert figures[0] ^ figures[1] == set()
    assert "README.zh-CN.md" in english and "(README.md)" in chinese
    assert "Not for clinical use" in english and "不得用于临床" in chinese


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_option_that_is_named_is_there(readmes, script, name):
    result = script(f"{name}.py", "--help")
    assert result.returncode == 0, result.stderr
    there = set(re.findall(r"--[a-z][\w-]*", result.stdout))
    commands = re.findall(rf"{name}\.py([^\n#`]*)", readmes[""])
    assert commands
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", " ".join(commands)))
    assert named <= there


def test_every_file_that_is_linked_is_there(readmes):
    for text in readmes.values():
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert target.startswith("http") or (ROOT / target).exists(), target
