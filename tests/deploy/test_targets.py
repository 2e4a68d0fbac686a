"""Every row of the targets table keeps the contract; the ONNX file's structure is what runtimes are fast with."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from contracts.target import check_failed_export, check_target, source
from deploy.conftest import Trained, record_of, small_network

from mobilenets.bundle import ModelFile
from mobilenets.deploy import TARGETS, export_model, facts_of, find_target, require_verified, source_of
from mobilenets.deploy.embedded import Embedded, embedded_from_strings
from mobilenets.deploy.targets import Precision, Target, has_module, target_of
from mobilenets.errors import BadModelFile, MissingRuntime, UnknownName, UsageError, VerifyFailed
from mobilenets.records import Preprocess
from mobilenets.specs import resolve

ROWS = [(target, precision) for target in TARGETS.values() for precision in target.precisions]


def facts(trained: Trained) -> Embedded:
    return facts_of(trained.model.record, precision="float32", weights_sha256=trained.model.weights_sha256)


@pytest.mark.parametrize(("target", "precision"), ROWS, ids=lambda part: getattr(part, "name", part))
def test_target_keeps_the_contract(
    target: Target, precision: Precision, trained: Trained, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for module in (*target.export_modules, "numpy"):
        if not has_module(module):
            pytest.skip(f"{module} is not installed here")
    network = small_network(trained.spec, seed=3)
    check_target(target, precision, network, replace(facts(trained), precision=precision), tmp_path)
    assert capfd.readouterr() == ("", ""), "an export says nothing on the terminal"


def test_a_refusing_folder_is_one_error(trained: Trained, tmp_path: Path) -> None:
    check_failed_export(TARGETS["onnx"], trained.network, facts(trained), tmp_path)


def test_the_graph_is_convolutions_and_activations(trained: Trained) -> None:
    proto = onnx.load_from_string(trained.model.read("onnx/model.onnx"))
    kinds = [node.op_type for node in proto.graph.node]
    assert "BatchNormalization" not in kinds
    assert kinds.count("HardSwish") > 0
    assert kinds.count("HardSigmoid") > 0
    assert not {"Sigmoid", "Clip", "Shape", "Identity", "Transpose"} & set(kinds)
    assert [entry.version for entry in proto.opset_import] >= [17]
    assert proto.graph.input[0].name == "image"
    assert [dim.dim_param or dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        3,
        32,
        32,
    ]
    assert [dim.dim_param or dim.dim_value for dim in proto.graph.output[0].type.tensor_type.shape.dim] == ["batch", 3]
    onnx.checker.check_model(proto, full_check=True)


def test_the_file_holds_no_path_of_the_machine(trained: Trained) -> None:
    raw = trained.model.read("onnx/model.onnx")
    for part in (str(Path(__file__).parents[2]), "site-packages", "stack_trace"):
        assert part.encode() not in raw


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "alpha"),
    [("mobilenetv1", 0.25), ("mobilenetv2", 0.35), ("mobilenetv3_small", 0.5), ("mobilenetv4_hybrid_medium", 1.0)],
)
def test_networks_keep_their_operators(name: str, alpha: float, tmp_path: Path) -> None:
    spec = resolve(name, alpha=alpha, resolution_px=(64, 96), classes=5)
    record = replace(record_of(resolve(spec, classes=3)), preprocess=Preprocess((64, 96)))
    path = tmp_path / "model.onnx"
    network = small_network(resolve(spec, classes=3), seed=1)
    made = facts_of(record, precision="float32", weights_sha256="")
    TARGETS["onnx"].export(source(network, made), path, facts=made)
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    # The norms in front of attention follow an addition, so nothing can take them in.
    attention = sum(type(row).__name__ == "MQA" for row in spec.rows)
    assert kinds.count("BatchNormalization") == attention
    session = TARGETS["onnx"].open(path)
    inputs = np.random.default_rng(0).standard_normal((3, 3, 64, 96)).astype(np.float32)
    from mobilenets.deploy.checks import relative_errors
    from mobilenets.deploy.trained import as_arrays, runner

    assert relative_errors(runner(network)(inputs), as_arrays(session.run(inputs)))[0] < 2e-4


def test_a_network_that_onnx_cannot_say_is_one_line(trained: Trained, tmp_path: Path) -> None:
    import torch

    class Branching(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UsageError, match="can't be exported") as caught:
            TARGETS["onnx"].export(source(Branching(), facts(trained)), tmp_path / "x.onnx", facts=facts(trained))
    assert "\n" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_unknown_names_are_answered_with_the_closest() -> None:
    with pytest.raises(UnknownName, match="did you mean onnx"):
        find_target("onx")
    with pytest.raises(UsageError, match="no precision 'int8'; it has float32"):
        TARGETS["onnx"].precision("int8")
    with pytest.raises(UsageError, match=r"known target \(\.onnx, \.tflite, \.xml"):
        target_of(Path("model.pt"))


def test_a_missing_package_names_its_install_line(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(MissingRuntime) as caught:
        TARGETS["onnx"].export(source(trained.network, facts(trained)), tmp_path / "x.onnx", facts=facts(trained))
    assert (caught.value.message, caught.value.hint) == (
        "onnxscript is not installed",
        "pip install 'mobilenets[train]'",
    )
    assert caught.value.exit_code == 3


def test_facts_survive_as_strings(trained: Trained) -> None:
    written = facts(trained)
    assert embedded_from_strings(written.as_strings(), where="x") == written
    assert embedded_from_strings({"other": "key"}, where="x") is None
    bad = {"format": ("2", "x", "0"), "labels": ("{", '["a", "a"]', "3"), "preprocess": ("{}", "[]")}
    for key, text in ((key, text) for key, texts in bad.items() for text in texts):
        with pytest.raises(BadModelFile):
            embedded_from_strings(written.as_strings() | {f"mobilenets.{key}": text}, where="x")
    missing = written.as_strings()
    del missing["mobilenets.task"]
    with pytest.raises(BadModelFile, match=r"has no mobilenets\.task"):
        embedded_from_strings(missing, where="x")


def test_weights_in_other_files_are_not_read(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX file can name any file of the disk for its weights, and ONNX Runtime would read it."""
    proto = onnx.load_from_string(trained.model.read("onnx/model.onnx"))
    tensor = next(t for t in proto.graph.initializer if len(t.dims) == 4)
    (tmp_path / "near.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    monkeypatch.chdir(tmp_path)
    for place in ("near.bin", "../near.bin", str(tmp_path / "near.bin")):
        entry.key, entry.value = "location", place
        (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
        with pytest.raises(BadModelFile, match="can't load it"):
            TARGETS["onnx"].open(tmp_path / "model.onnx")


def test_an_unproved_export_is_not_kept(trained: Trained, copied: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(network: object, size_px: object, *, free_size: bool) -> onnx.ModelProto:
        proto = onnx.load_from_string(trained.model.read("onnx/model.onnx"))
        proto.ClearField("metadata_props")
        for tensor in proto.graph.initializer[:4]:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1.01, tensor.name))
        return proto

    monkeypatch.setattr("mobilenets.deploy.tracing._traced", wrong)
    result = export_model(copied, source=source_of(copied, network=trained.network))
    assert not result.verification.passed
    assert result.model.seal == copied.seal
    with pytest.raises(VerifyFailed, match="logits"):
        require_verified(result.verification)
