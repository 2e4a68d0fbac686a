"""docs/model-file.md is enough for another program: the one printed there reads a model file without this library."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import onnx
import pytest
from bundle.small_model import reseal
from onnx import TensorProto, helper, numpy_helper

from mobilenets.bundle import ExportRecord, ModelFile, ModelRecord, Provenance, add_files

PAGE = (Path(__file__).parents[2] / "docs" / "model-file.md").read_text()


@pytest.fixture
def with_graph(make: Callable[[Path], ModelFile], record: ModelRecord, tmp_path: Path) -> Path:
    """The small model file with its projection as an ONNX graph."""
    weights = np.random.default_rng(1).standard_normal((3 * 32 * 32, 3)).astype(np.float32)
    shape = numpy_helper.from_array(np.array([0, -1], np.int64), "shape")
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["image", "shape"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "projection",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [shape, numpy_helper.from_array(weights, "weights")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(proto)
    export = ExportRecord("onnx", "float32", "onnx/model.onnx")
    model = add_files(
        make(tmp_path / "model"), {export.file: proto.SerializeToString()}, record=record.with_export(export)
    )
    return model.path


def read(folder: Path) -> "subprocess.CompletedProcess[str]":
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    blocked = "import sys\nsys.modules['mobilenets'] = sys.modules['torch'] = None\n"
    return subprocess.run(
        [sys.executable, "-c", blocked + program, str(folder)], capture_output=True, text=True, check=False
    )


def test_the_printed_reader_reads(with_graph: Path) -> None:
    done = read(with_graph)
    assert done.stderr == ""
    golden = ModelFile.open(with_graph).golden()
    assert done.stdout.split("\n")[:-1] == [f"{i.file} {i.answer['label']}" for i in golden.index.images]


def test_the_printed_reader_refuses(with_graph: Path) -> None:
    (with_graph / "golden" / "00.png").write_bytes((with_graph / "golden" / "01.png").read_bytes())
    assert "AssertionError: golden/00.png" in read(with_graph).stderr
    reseal(with_graph, {"golden/00.png": (with_graph / "golden" / "01.png").read_bytes()})
    assert "AssertionError: preprocessing" in read(with_graph).stderr


def test_the_page_names_every_key() -> None:
    for kind in (ModelRecord, Provenance, ExportRecord):
        for field in fields(kind):
            assert f"`{field.name}`" in PAGE, f"{kind.__name__}.{field.name} is not on the page"
