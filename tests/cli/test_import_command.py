"""`mobilenets import` as a script sees it: the promised keys, one line for each bad file, nothing half-written."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from cli.conftest import Run
from models.weights.made_onnx import network, unfolded
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from mobilenets.models import build, state_arrays
from mobilenets.models.weights.timm import write_timm
from mobilenets.specs import resolve


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("theirs") / "theirs.onnx"
    path.write_bytes(unfolded(network("mobilenetv2", alpha=0.35)))
    return path


def timm_arrays(name: str = "mobilenetv3_small_050") -> dict[str, np.ndarray]:
    spec = resolve(name, classes=4)
    return {key: array.copy() for key, array in write_timm(spec, state_arrays(build(spec))).items()}


def test_the_promised_keys(theirs: Path, tmp_path: Path, run: Run) -> None:
    answer = run("import", theirs, "-o", tmp_path / "model", "--json", "-q")
    assert (answer.code, answer.stderr) == (0, "")
    found = answer.json
    assert found["network"] == "mobilenetv2"
    assert (found["alpha"], found["resolution_px"], found["classes"]) == (0.35, [32, 32], 5)
    assert (found["model"], found["source"]) == (str(tmp_path / "model"), str(theirs))
    proof = found["proof"]
    assert {"runtime", "images", "max_relative_error", "top1_agreement", "passed"} <= set(proof)
    assert proof["passed"] is True
    assert (tmp_path / "model" / "manifest.json").is_file()


def test_without_the_runtime_there_is_a_reason(
    theirs: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mobilenets import importing

    monkeypatch.setattr(importing, "missing", lambda runtime: f"{runtime.title} is not installed")
    found = run("import", theirs, "-o", tmp_path / "model", "--json", "-q").json
    assert found["proof"] is None
    assert found["unproved"] == "ONNX Runtime is not installed"


def test_facts_for_the_eye(theirs: Path, tmp_path: Path, run: Run) -> None:
    answer = run("import", theirs, "--backbone", "-o", tmp_path / "model", "--fit", "squash", "--mean", "0.5", "-q")
    assert answer.code == 0
    assert "mobilenetv2 alpha 0.35 at 32x32 px, 0 classes" in answer.stdout
    assert "inner tensors" in answer.stdout
    assert "left out:" in answer.stdout


class Touch:
    """Pickled, it makes a file when it is unpickled by somebody careless."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def evil(folder: Path) -> Path:
    path = folder / "evil.pth"
    path.write_bytes(pickle.dumps({"state_dict": Touch(folder / "marker")}))
    return path


def script(folder: Path) -> Path:
    path = folder / "script.pt"
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))
    return path


def short(folder: Path) -> Path:
    path = folder / "short.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(20))
    return path


def misshapen(folder: Path) -> Path:
    arrays = timm_arrays()
    arrays["bn1.weight"] = np.zeros(17, np.float32)
    save_file(arrays, folder / "misshapen.safetensors")
    return folder / "misshapen.safetensors"


def regression(folder: Path) -> Path:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy")
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1.0, 0.0, 0.0, 1.0])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "line", [x], [y], [weight])
    onnx.save(helper.make_model(graph), folder / "line.onnx")
    return folder / "line.onnx"


def empty(folder: Path) -> Path:
    (folder / "empty.onnx").touch()
    return folder / "empty.onnx"


BAD: tuple[tuple[Callable[[Path], Path], str], ...] = (
    (evil, "evil.pth"),
    (script, "TorchScript"),
    (short, "short.tflite"),
    (misshapen, "bn1.weight"),
    (regression, "line.onnx"),
    (empty, "empty.onnx"),
    (lambda folder: folder, "is a folder"),
    (lambda folder: folder / "none.tflite", "no such file"),
    (lambda folder: folder / "none", "no such file"),
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.jit")
@pytest.mark.parametrize(("make", "told"), BAD, ids=[row[1] for row in BAD[:-1]] + ["no suffix"])
def test_a_bad_file_is_one_line(make: Callable[[Path], Path], told: str, tmp_path: Path, run: Run) -> None:
    answer = run("import", make(tmp_path), "-o", tmp_path / "out", "-q")
    assert answer.code == 2
    assert told in answer.stderr
    assert answer.stderr.count("\n") <= 2
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "marker").exists(), "nothing of the file was executed"


def test_a_wrong_name_names_the_near_ones(tmp_path: Path, run: Run) -> None:
    save_file(timm_arrays(), tmp_path / "x.safetensors")
    answer = run("import", tmp_path / "x.safetensors", "--network", "mobilenetv3_smal", "-o", tmp_path / "out", "-q")
    assert answer.code == 2
    assert "mobilenetv3_small" in answer.stderr
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_nothing(theirs: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mobilenets", "import", str(theirs), "-o", str(tmp_path / "out")]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )  # fmt: skip
    assert process.stderr is not None
    assert "reading" in process.stderr.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()
