"""check.py proves a model file with NumPy, Pillow and ONNX Runtime alone, and says no to a changed byte."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundle.small_model import LABELS, best, reseal
from PIL import Image

from mobilenets.bundle import ExportRecord, ModelFile, ModelRecord, create_model_file, make_golden, synthetic_images
from mobilenets.bundle.check_script import CHECK_SCRIPT
from mobilenets.records import Preprocess

ALONE = """
import runpy, sys
ALLOWED = {"numpy", "PIL", "onnxruntime", "flatbuffers", "google", "packaging", *sys.stdlib_module_names}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if path is None and name not in ALLOWED:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)
sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def linear_onnx() -> tuple[bytes, np.ndarray]:
    """An ONNX file of one matrix product, and its matrix."""
    onnx = pytest.importorskip("onnx")
    matrix = np.random.default_rng(1).standard_normal((3 * 32 * 32, 3)).astype(np.float32)
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "matrix"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("image", 1, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", 1, ["N", 3])],
        [onnx.numpy_helper.from_array(matrix, "matrix")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return proto.SerializeToString(), matrix


def model_file(path: Path, record: ModelRecord, weights: dict[str, np.ndarray], preprocess: Preprocess) -> ModelFile:
    data, matrix = linear_onnx()
    golden = make_golden(
        [(suffix, picture, LABELS.ids[0]) for suffix, picture in synthetic_images(4, size_px=(32, 32))],
        preprocess,
        kind="synthetic",
        output_names=("logits",),
        run=lambda inputs: (inputs.reshape(len(inputs), -1) @ matrix,),
        answer=best,
    )
    record = replace(record, preprocess=preprocess, exports=(ExportRecord("onnx", "float32", "onnx/model.onnx"),))
    return create_model_file(path, record, weights=weights, golden=golden, files={"onnx/model.onnx": data})


def checked(folder: Path) -> tuple[int, list[str]]:
    """The exit code of check.py, run apart from everything else, and its lines."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, str(folder / "check.py")], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


@pytest.fixture
def model(record: ModelRecord, weights: dict[str, np.ndarray], tmp_path: Path) -> Path:
    return model_file(tmp_path / "model", record, weights, Preprocess((32, 32))).path


def test_it_is_short_sealed_and_asks_for_little(model: Path) -> None:
    assert len(CHECK_SCRIPT.splitlines()) < 60
    assert max(map(len, CHECK_SCRIPT.splitlines())) <= 120
    assert (model / "check.py").read_text() == CHECK_SCRIPT
    assert "check.py" in json.loads((model / "manifest.json").read_text())["files"]


def test_a_whole_model_file_passes(model: Path) -> None:
    code, lines = checked(model)
    assert code == 0, lines
    files = json.loads((model / "manifest.json").read_text())["files"]
    assert len(lines) == len(files) + 4 + 1
    assert not [line for line in lines if not line.startswith("ok ") or "skipped" in line]


@pytest.mark.parametrize("name", ["golden/00.jpg", "golden/01.png", "golden/vectors.safetensors", "model.json"])
def test_one_changed_byte_fails(model: Path, name: str) -> None:
    data = bytearray((model / name).read_bytes())
    data[-2] ^= 1
    (model / name).write_bytes(data)
    done = subprocess.run([sys.executable, str(model / "check.py")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    if not done.stderr:  # a picture whose last byte is damaged may still open
        assert any(line.startswith("NO hash") and line.endswith(name) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", ["golden/01.png", "golden/vectors.safetensors", "onnx/model.onnx"])
def test_a_missing_file_is_one_line(model: Path, name: str) -> None:
    (model / name).unlink()
    done = subprocess.run([sys.executable, str(model / "check.py")], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, f"NO {name} is missing\n")


def test_what_was_sealed_anew_still_has_to_answer_right(model: Path) -> None:
    """The hashes are right, the tensors (and so the outputs) are not: only running it can tell."""
    vectors = bytearray((model / "golden/vectors.safetensors").read_bytes())
    start = 8 + int.from_bytes(vectors[:8], "little")
    spot = json.loads(vectors[8:start])["inputs"]["data_offsets"][0] + start
    vectors[spot : spot + 4] = np.float32(3).tobytes()
    reseal(model, {"golden/vectors.safetensors": bytes(vectors)})
    code, lines = checked(model)
    assert code == 1
    assert {line.split()[1] for line in lines if line.startswith("NO ")} == {"pixel", "relative"}


@pytest.mark.parametrize(
    ("change", "skipped"),
    [
        ({"fit": "central_then_stretch", "colour": "bgr"}, False),
        ({"fit": "stretch", "interpolation": "nearest"}, False),
        ({"crop_ratio": 0.95, "interpolation": "bicubic"}, False),
        ({"antialias": False}, True),
    ],
)
def test_it_prepares_pictures_by_the_record(
    change: dict[str, object], skipped: bool, record: ModelRecord, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    plain = Preprocess((32, 32))
    folder = model_file(tmp_path / "model", record, weights, replace(plain, **change)).path
    code, lines = checked(folder)
    assert code == 0, lines
    assert any("skipped" in line for line in lines) == skipped
    if not skipped:  # the broken twin: another record over the same tensors
        text = json.loads((folder / "model.json").read_text())
        text["preprocess"] |= {"crop_ratio": 0.8, "fit": "short_then_crop"}
        reseal(folder, {"model.json": json.dumps(text).encode()})
        assert checked(folder)[0] == 1


def test_a_turned_photo_is_turned(record: ModelRecord, weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    from mobilenets.data import preprocess, read_image

    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    space: dict[str, object] = {"__file__": str(tmp_path / "check.py"), "__name__": "check"}
    exec(CHECK_SCRIPT[: CHECK_SCRIPT.index("passed = True")], space)
    plain = Preprocess((32, 32))
    tensor = preprocess(read_image(tmp_path / "turned.jpg"), plain)
    values = json.loads(json.dumps({name: getattr(plain, name) for name in plain.__slots__}))
    levels = space["levels"]
    assert callable(levels)
    assert levels(tmp_path / "turned.jpg", values, tensor) < 0.01
    assert levels(tmp_path / "turned.jpg", values, tensor[:, ::-1]) > 10


def test_a_model_file_without_it_still_opens(model: Path) -> None:
    """Those written before have none."""
    manifest = json.loads((model / "manifest.json").read_text())
    del manifest["files"]["check.py"]
    (model / "manifest.json").write_text(json.dumps(manifest))
    (model / "check.py").unlink()
    assert "check.py" not in ModelFile.open(model).names
    shutil.rmtree(model)
