"""The first minute with the command line: help, typing errors, a Python without the packages."""

import os
import re
import signal
import subprocess
import sys

import pytest
from helpers.places import ROOT

SCRIPTS = (
    *("train", "eval", "predict", "export", "prepare_data", "convert_torch_weights"),
    "reproduce",
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_comes_without_paddle_and_ends_in_examples(name):
    # -S: without site-packages, so that no import of a package can succeed.
    command = [sys.executable, "-S", ROOT / f"{name}.py", "--help"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    examples = result.stdout.rpartition("examples:")[2]
    assert len(re.findall(rf"^  python {name}\.py ", examples, re.M)) == 2


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["train.py", "--bach-size", "3"], "--batch-size"),
        (["eval.py", "--wieghts=a.pdparams"], "--weights"),
        # As other projects name them; of these letters --log-dir and others are nearer.
        (["train.py", "--lr", "0.01"], "--learning-rate"),
        (["train.py", "--gpus", "0"], "--device"),
        (["prepare_data.py", "download", "--skip-film"], "--skip-films"),
        (["prepare_data.py", "cache", "--any-modalit"], "--any-modality"),
    ],
)
def test_a_mistyped_option_gets_a_suggestion_before_paddle_is_imported(words, meant):
    command = [sys.executable, "-S", ROOT / words[0], *words[1:]]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2 and result.stdout == ""
    assert f"(did you mean {meant}?)" in result.stderr
    assert result.stderr.startswith(f"error: {words[0]}: ") and result.stderr.count("\n") == 1


def test_options_of_other_actions_are_not_suggested():
    command = [sys.executable, ROOT / "prepare_data.py", "cache", "--test-list", "list.csv"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2 and "no such option or argument: --test-list" in result.stderr
    assert "did you mean --test-list" not in result.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_missing_package_is_one_line_with_the_remedy(name):
    words = {
        "predict": ["film.png"],
        "export": ["film.png", "--weights", "w", "--format", "onnx"],
        "prepare_data": ["check"],
        "convert_torch_weights": ["a.pth", "b.pdparams"],
    }.get(name, [])
    command = [sys.executable, "-S", ROOT / f"{name}.py", *words]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {name}.py: the package paddle is not installed")
    assert "pip install -r requirements-cpu.txt" in result.stderr
    assert result.stderr.count("\n") == 1


def test_every_option_says_what_it_does_and_what_its_default_is():
    for name in ("train", "eval", "predict", "export"):
        command = [sys.executable, "-S", ROOT / f"{name}.py", "--help"]
        text = subprocess.run(
            command, capture_output=True, text=True, env={"COLUMNS": "200"}
        ).stdout
        options = re.findall(r"^  (--[a-z-]+)((?: \S+)*?)(?:  +|\n +)(\S.*)", text, re.M)
        assert len(options) >= 5
        for option, value, sentence in options:
            assert len(sentence) > 10 or "default" in sentence, f"{name} {option}"
            assert value or "default" not in sentence, f"{name} {option} is a switch"


@pytest.mark.parametrize(
    ("told", "share"),
    [
        ({}, 1),
        ({"PADDLE_LOCAL_SIZE": "4", "PADDLE_TRAINERS_NUM": "8"}, 4),
        (  # the older launcher, on two machines
            {
                "PADDLE_TRAINER_ENDPOINTS": "10.0.0.1:1,10.0.0.1:2,10.0.0.2:1",
                "PADDLE_CURRENT_ENDPOINT": "10.0.0.1:2",
            },
            2,
        ),
    ],
)
def test_ranks_of_a_machine_share_its_cores(told, share):
    code = (
        "from runtime import command_line, environment\n"
        "command_line.os.sched_getaffinity = lambda process: range(8)\n"
        "print(environment.ranks_here(), command_line.default_workers())"
    )
    bare = {name: text for name, text in os.environ.items() if not name.startswith("PADDLE_")}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=bare | told, capture_output=True, text=True
    )
    assert result.stdout.split() == [str(share), str(8 // share)], result.stderr


def test_a_bar_in_a_log_is_lines(tmp_path):
    code = (
        "from runtime.progress import progress_bar\n"
        "for _ in progress_bar(range(5), unit='film'): pass"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    first, last = result.stderr.splitlines()
    assert "0/5" in first and "5/5" in last and "\r" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "threads"),
    [
        ({}, os.cpu_count()),
        ({"PADDLE_LOCAL_SIZE": "2"}, max(1, os.cpu_count() // 2)),  # two ranks share the cores
        ({"PADDLE_LOCAL_SIZE": "999"}, 1),
        ({"OMP_NUM_THREADS": "3"}, 3),  # what the user has set stays
    ],
)
def test_training_takes_this_rank_s_share_of_the_cores(variables, threads):
    if os.path.exists("/dev/nvidia0"):
        pytest.skip("there is a GPU, which computes instead")
    code = (
        "import sys; sys.argv = ['train.py', '--data-dir', 'nowhere']\n"
        "import os, runpy\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit: print(os.environ['OMP_NUM_THREADS'])\n"
        "import logging; logging.getLogger('paddle').warning('heard')"
    )
    clean = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean | variables,
        capture_output=True,
        text=True,
    )
    assert result.stdout == f"{threads}\n", result.stderr
    # Paddle's warning of more than one is left out; what it logs later is not.
    assert "OMP_NUM_THREADS" not in result.stderr and "heard" in result.stderr


def test_a_reader_that_leaves_early_is_no_error():
    code = "from runtime.command_line import run\nrun(lambda: [print(n) for n in range(10**6)])"
    command = f'"{sys.executable}" -c "$CODE" | head -1; exit ${{PIPESTATUS[0]}}'
    result = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env={"CODE": code}, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout, result.stderr) == (141, "0\n", "")


def test_sigterm_ends_a_script_at_once_and_without_a_trace(tmp_path):
    """Paddle's own handler prints one, and was seen to hang where it interrupted an allocation."""
    begin = tmp_path / "begin"
    code = f"""
import paddle, pathlib, time
from runtime import command_line
command_line.run(lambda: (pathlib.Path({str(begin)!r}).touch(), time.sleep(600)))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not begin.exists():
        assert process.poll() is None
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM and "Traceback" not in output
