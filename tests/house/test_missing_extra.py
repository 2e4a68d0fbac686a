"""Without an extra's packages a public name is an error that says how to get them, never a ModuleNotFoundError."""

import subprocess
import sys

import pytest

BLOCKED = (
    "import sys\nfor name in ('torch', 'torchvision', 'sklearn', 'onnx', 'onnxscript'): sys.modules[name] = None\n"
)


def without_train(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "use", ["mobilenets.build('mobilenetv2')", "mobilenets.fit('digits')", "mobilenets.train_run('digits')",
            "mobilenets.bench_models(['mobilenetv2'])"]
)  # fmt: skip
def test_python_says_what_to_install(use: str) -> None:
    done = without_train(
        "import mobilenets\nfrom mobilenets.errors import MissingRuntime\n"
        f"try:\n    {use}\nexcept MissingRuntime as error:\n    sys.stdout.write(error.hint)"
    )
    assert (done.stdout, done.stderr) == ("pip install 'mobilenets[train]'", "")


@pytest.mark.parametrize("command", ["fit digits", "train digits", "bench mobilenetv2"])
def test_a_command_ends_with_3_and_the_install_line(command: str) -> None:
    done = without_train(f"from mobilenets.cli import main\nsys.exit(main({command.split()!r}))")
    assert (done.returncode, done.stdout) == (3, "")
    problem, hint = done.stderr.splitlines()
    assert "not installed" in problem
    assert hint == "pip install 'mobilenets[train]'"


@pytest.mark.parametrize("command", ["list", "show mobilenetv2", "doctor"])
def test_what_needs_no_extra_works(command: str) -> None:
    done = without_train(f"from mobilenets.cli import main\nsys.exit(main({command.split()!r}))")
    assert (done.returncode, done.stderr) == (0, "")
