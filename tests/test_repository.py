"""What is tracked: no large file, and tests that can each be read without another."""

import re
import subprocess

import pytest
from helpers.places import ROOT

LARGEST = 300_000  # bytes; a clone carries for ever what was committed once


def tracked(*patterns):
    result = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True)
    if result.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in result.stdout.decode().split("\0") if name]


def test_no_large_file_is_tracked():
    sizes = {path.name: path.stat().st_size for path in tracked() if path.exists()}
    assert {name: size for name, size in sizes.items() if size > LARGEST} == {}


def test_pyproject_has_the_paddle_of_the_requirements_file():
    texts = [(ROOT / name).read_text() for name in ("pyproject.toml", "requirements-cpu.txt")]
    ours, theirs = (re.findall(r"paddlepaddle==[\d.]+", text) for text in texts)
    assert ours == theirs and len(ours) == 1


def test_no_test_file_imports_another_and_no_benchmark_imports_tests():
    imports = r"^\s*(?:from|import) (test_\w+|conftest|tests|helpers)\b"
    for path in tracked("tests/test_*.py", "benchmarks/*.py"):
        found = set(re.findall(imports, path.read_text(), re.M))
        allowed = {"helpers"} if path.parent.name == "tests" else set()
        assert found <= allowed, path


def test_the_map_of_files_has_every_file():
    text = (ROOT / "docs" / "architecture.md").read_text()
    files = tracked("*.py", "web/page/*.js")
    parts = {path.parent.relative_to(ROOT).parts for path in files} - {()}
    folders = {part for part in parts if part[0] not in ("tests", "benchmarks", "demo")}
    wanted = [path.name for path in files if path.parent.relative_to(ROOT).parts in folders]
    assert [name for name in wanted if name != "__init__.py" and name not in text] == []
