"""How a command ends: the exit code, one line on stderr, and nothing on stdout but the answer."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.conftest import Run, in_process_of_its_own

from mobilenets.errors import MissingRuntime, VerifyFailed


@pytest.mark.parametrize(
    ("args", "first", "second"),
    [
        (("lst",), "no command called 'lst'; did you mean list?", "see: mobilenets --help"),
        (("xyz",), "no command called 'xyz'; known: list, show, ", "see: mobilenets --help"),
        (("show",), "missing argument 'NETWORK'", "see: mobilenets show --help"),
        (("show", "mobilenetv22"), "no network called 'mobilenetv22'; did you mean ", "see: mobilenets list"),
        (("show", "mobilenetv2", "--alhpa", 1), "no such option", "see: mobilenets show --help"),
        (("show", "mobilenetv2", "--alpha", 0), "invalid value for '--alpha'", "see: mobilenets show --help"),
        (("show", "mobilenetv2", "--alpha", "nan"), "alpha", None),
        (("data", "check", "no/such/folder"), "no/such/folder: no such file or folder", "to try without data"),
        (("data", "chekc", "photos"), "no such command", "see: mobilenets data --help"),
        (("predict", "no/such/model", "cat.jpg"), "no/such/model", None),
        (("verify", "no/such/model"), "no/such/model", None),
        (("list", "--max-ram-kb", -1), "max_ram_kb must be positive", None),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_a_next_step(
    run: Run, args: tuple[object, ...], first: str, second: str | None
) -> None:
    answer = run(*args)
    assert answer.code == 2
    assert answer.stdout == ""
    lines = answer.stderr.splitlines()
    assert first in lines[0]
    assert len(lines) <= 2
    assert second is None or lines[1].startswith(second)


def failing(error: BaseException):  # type: ignore[no-untyped-def]
    def call(*args: object, **kwargs: object) -> None:
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (MissingRuntime.extra("torch", "train"), 3, ["torch is not installed", "pip install 'mobilenets[train]'"]),
        (VerifyFailed("model.onnx: logits differ"), 1, ["model.onnx: logits differ"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
        (OSError(errno.ENOSPC, "No space left on device", "out.json"), 2, ["out.json: No space left on device"]),
    ],
)
def test_an_error_of_the_library_has_its_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, lines: list[str]
) -> None:
    monkeypatch.setattr("mobilenets.measure.costs.cost", failing(error))
    answer = run("list")
    assert (answer.code, answer.stdout) == (code, "")
    assert answer.stderr.splitlines() == lines


def test_a_bug_leaves_a_file_to_attach(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilenets.measure.costs.cost", failing(ZeroDivisionError("division by zero")))
    answer = run("list", "--json")
    assert (answer.code, answer.stdout) == (70, "")
    problem, attach = answer.stderr.splitlines()
    assert problem == "this is a bug in mobilenets: ZeroDivisionError: division by zero"
    text = Path(attach.removeprefix("please attach: ")).read_text()
    assert "Traceback" in text
    assert "ZeroDivisionError" in text
    assert "numpy" in text


def test_debug_shows_the_stack_and_nothing_else_does(run: Run) -> None:
    assert "Traceback" in run("show", "nothing", "--debug").stderr
    assert "Traceback" not in run("show", "nothing", "-v").stderr


def test_a_reader_who_leaves_early_is_no_error() -> None:
    script = f'set -o pipefail; "{sys.executable}" -m mobilenets show mobilenetv4_hybrid_large | head -n 1'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("layer")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "mobilenets", "list"], stdout=full, stderr=subprocess.PIPE,
                              text=True, timeout=60, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "output: No space left on device\n")


def test_the_module_is_the_command() -> None:
    answer = in_process_of_its_own(["show", "mobilenetv22"])
    assert answer.code == 2
    assert in_process_of_its_own(["--version"]).stdout.startswith("mobilenets ")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(photos: Path, tiny: Path, tmp_path: Path) -> None:
    run = tmp_path / "my run"
    args = ["fit", photos, "--network", tiny, "--resolution", "32", "--epochs", "100000", "-o", run]
    process = subprocess.Popen(
        [sys.executable, "-m", "mobilenets", *map(str, args)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 90
        while not (run / "results.csv").is_file() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-2:] == [
        "interrupted; the last checkpoint is whole",
        f"to go on: mobilenets fit --resume '{run}'",
    ]
