"""Verify says yes to a faithful export, and no to each way in which deployed files have been wrong."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from deploy.conftest import LABELS, Trained
from onnx import numpy_helper

from mobilenets.bundle import ModelFile
from mobilenets.codec import decode, encode
from mobilenets.deploy import require_verified, verify_model
from mobilenets.deploy.checks import LIMITS, check_batches, relative_errors
from mobilenets.deploy.targets import TARGETS
from mobilenets.deploy.trained import as_arrays
from mobilenets.errors import BadData, VerifyFailed
from mobilenets.records import Labels, Verification

Remade = Callable[..., ModelFile]


def failed(verification: Verification) -> set[str]:
    """The names of the checks that said no; a verification with any must not pass and must raise."""
    names = {check.name for check in verification.checks if not check.passed}
    assert verification.passed == (not names)
    if names:
        with pytest.raises(VerifyFailed) as caught:
            require_verified(verification)
        assert "\n" not in caught.value.message
        assert caught.value.exit_code == 1
    return names


def edited(trained: Trained, edit: Callable[[onnx.ModelProto], None]) -> bytes:
    proto = onnx.load_from_string(trained.model.read("onnx/model.onnx"))
    edit(proto)
    return proto.SerializeToString()


def initializers(proto: onnx.ModelProto, suffix: str) -> list[onnx.TensorProto]:
    found = [tensor for tensor in proto.graph.initializer if tensor.name.endswith(suffix)]
    assert found
    return found


def write(tensor: onnx.TensorProto, values: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))


def test_a_faithful_export_passes(trained: Trained) -> None:
    proof = verify_model(trained.model)
    assert failed(proof) == set()
    assert proof.images == 16
    assert proof.top1_agreement == 1.0
    assert 0 < proof.mean_relative_error < proof.max_relative_error < 1e-4
    assert {"answers", "shapes", "weights", "labels", "metadata", "preprocess", "logits", "batch"} < {
        check.name for check in proof.checks
    }
    assert decode(Verification, encode(proof)) == proof


def test_labelled_images_are_put_to_both(trained: Trained) -> None:
    seen: list[tuple[int, int]] = []
    proof = verify_model(trained.model, data=trained.dataset, split="val", on_progress=lambda *at: seen.append(at))
    assert failed(proof) == set()
    assert proof.images == 16 + 21
    assert seen[-1] == (21, 21)
    assert {"reference", "data_logits", "metric"} <= {check.name for check in proof.checks}
    assert verify_model(trained.model, data=trained.dataset.root).images == 16 + 6, "test, where nothing is asked for"


def test_data_without_splits_are_put_to_both_whole(trained: Trained) -> None:
    unsplit = replace(trained.dataset, train=trained.dataset.samples, val=(), test=())
    assert verify_model(trained.model, data=unsplit).images == 16 + len(trained.dataset.samples)


def test_the_record_kept_in_the_model_file_is_the_proof(trained: Trained) -> None:
    (export,) = trained.model.record.exports
    assert export.verified
    assert export.verification is not None
    assert export.verification.images == 16 + 6


# --- broken twins: the file ---------------------------------------------------------------------------------------


def nudge_a_weight(proto: onnx.ModelProto) -> None:
    tensor = initializers(proto, "weight")[0]
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] += 0.01
    write(tensor, values)


def swap_the_colours(proto: onnx.ModelProto) -> None:
    stem = next(t for t in proto.graph.initializer if len(t.dims) == 4 and t.dims[1] == 3)
    write(stem, numpy_helper.to_array(stem)[:, ::-1])


def swap_two_classes(proto: onnx.ModelProto) -> None:
    for tensor in proto.graph.initializer:
        if tensor.dims and tensor.dims[0] == 3:
            write(tensor, numpy_helper.to_array(tensor)[[1, 0, 2]])


def answer_nan(proto: onnx.ModelProto) -> None:
    tensor = initializers(proto, "weight")[0]
    write(tensor, numpy_helper.to_array(tensor) * np.float32("nan"))


def round_to_half(proto: onnx.ModelProto) -> None:
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            write(tensor, numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("twin", [nudge_a_weight, swap_the_colours, swap_two_classes, answer_nan, round_to_half])
def test_another_graph_fails(trained: Trained, remade: Remade, twin: Callable[[onnx.ModelProto], None]) -> None:
    proof = verify_model(remade(onnx=edited(trained, twin)))
    assert "logits" in failed(proof)
    assert proof.max_relative_error > 3 * LIMITS["float32"].max_relative_error


def test_the_limit_holds_where_it_stands(trained: Trained, remade: Remade) -> None:
    """Biases moved by 3e-5 of the largest logit pass, by 3e-4 fail: the limit of 2e-4 is neither idle nor too tight."""
    scale = float(np.abs(trained.model.golden().outputs[0]).max())

    def moved(by: float) -> Callable[[onnx.ModelProto], None]:
        def edit(proto: onnx.ModelProto) -> None:
            gemm = next(node for node in proto.graph.node if node.op_type == "Gemm")
            bias = next(t for t in proto.graph.initializer if t.name == gemm.input[2])
            write(bias, numpy_helper.to_array(bias) + np.float32(by * scale))

        return edit

    path = remade().path
    for by, wanted in ((3e-5, set()), (3e-4, {"logits"})):
        file = path.parent / f"{by}.onnx"
        file.write_bytes(edited(trained, moved(by)))
        assert failed(verify_model(trained.model, file=file)) == wanted


def test_another_shape_fails(trained: Trained, remade: Remade) -> None:
    def larger(proto: onnx.ModelProto) -> None:
        for axis in (2, 3):
            proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 64
        proto.graph.ClearField("value_info")

    def fewer(proto: onnx.ModelProto) -> None:
        for tensor in proto.graph.initializer:
            if tensor.dims and tensor.dims[0] == 3:
                write(tensor, numpy_helper.to_array(tensor)[:2])
        proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2
        proto.graph.ClearField("value_info")

    def renamed(proto: onnx.ModelProto) -> None:
        for node in proto.graph.node:
            node.output[:] = ["scores" if name == "logits" else name for name in node.output]
        proto.graph.output[0].name = "scores"

    path = remade().path
    for index, edit in enumerate((larger, fewer, renamed)):
        file = path.parent / f"{index}.onnx"
        file.write_bytes(edited(trained, edit))
        proof = verify_model(trained.model, file=file)
        assert failed(proof) == {"shapes"}
        assert proof.top1_agreement == 0.0


class AloneOtherwise:
    """A session that answers one picture otherwise than a batch, as a frozen batch dimension once did."""

    def __init__(self, session: object) -> None:
        self.session = session

    def run(self, batch: np.ndarray) -> np.ndarray:
        return self.session.run(batch) + (0.01 if len(batch) == 1 else 0.0)


def test_a_batch_that_answers_otherwise_fails(trained: Trained) -> None:
    session = TARGETS["onnx"].open(trained.model.local("onnx/model.onnx"))
    golden = trained.model.golden()
    together = as_arrays(session.run(golden.inputs))
    assert check_batches(session, golden.inputs, together, 1e-4).passed
    assert not check_batches(AloneOtherwise(session), golden.inputs, together, 1e-4).passed


# --- broken twins: what goes with the file ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "bgr"},
        {"crop_ratio": 0.95},
        {"interpolation": "bicubic"},
        {"antialias": False},
        {"fit": "stretch"},
        {"mean": (0.5, 0.5, 0.5)},
        {"std": (0.25, 0.25, 0.25)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_preprocessing_fails(trained: Trained, remade: Remade, change: dict[str, object]) -> None:
    record = trained.model.record
    wrong = replace(record, preprocess=replace(record.preprocess, **change))
    assert {"preprocess", "metadata"} <= failed(verify_model(remade(record=wrong)))


def shifted(labels: Labels) -> Labels:
    return Labels(labels.ids[1:] + labels.ids[:1], labels.names[1:] + labels.names[:1])


def test_labels_moved_in_the_file_fail(trained: Trained, remade: Remade) -> None:
    def move(proto: onnx.ModelProto) -> None:
        for entry in proto.metadata_props:
            if entry.key == "mobilenets.labels":
                entry.value = '["dog", "wren", "cat"]'

    assert failed(verify_model(remade(onnx=edited(trained, move)))) == {"labels"}


def test_labels_moved_everywhere_fail(trained: Trained, remade: Remade) -> None:
    """File and record agree, both one off: only what the trained network said when it was trained can tell."""
    from mobilenets.deploy import facts_of

    wrong = replace(trained.model.record, labels=shifted(LABELS))
    strings = facts_of(wrong, precision="float32", weights_sha256=trained.model.weights_sha256).as_strings()

    def move(proto: onnx.ModelProto) -> None:
        for entry in proto.metadata_props:
            entry.value = strings[entry.key]

    assert "answers" in failed(verify_model(remade(record=wrong, onnx=edited(trained, move))))


def test_stale_weights_fail(trained: Trained, remade: Remade) -> None:
    """The network was trained on, the export was not made anew."""
    weights = {name: array.copy() for name, array in trained.model.weights().items()}
    weights["classifier.weight" if "classifier.weight" in weights else sorted(weights)[0]] *= 1.1
    model = remade(weights=weights)
    assert failed(verify_model(model)) == {"weights"}
    assert {"weights", "reference", "data_logits"} <= failed(verify_model(model, data=trained.dataset))


def test_calibration_moved_fails(trained: Trained, remade: Remade) -> None:
    record = trained.model.record
    wrong = replace(record, calibration=replace(record.calibration, temperature=1.0))
    assert {"metadata", "answers"} == failed(verify_model(remade(record=wrong)))


def test_a_file_of_another_program_fails(trained: Trained, remade: Remade) -> None:
    bare = edited(trained, lambda proto: proto.ClearField("metadata_props"))
    assert failed(verify_model(remade(onnx=bare))) == {"metadata"}


def test_data_of_unknown_labels_is_refused(trained: Trained, tmp_path: Path) -> None:
    from mobilenets.bundle import synthetic_images

    for split in ("train", "val"):
        (tmp_path / split / "zebra").mkdir(parents=True)
        (tmp_path / split / "zebra" / "1.jpg").write_bytes(synthetic_images(1, size_px=(32, 32))[0][1])
    with pytest.raises(BadData, match="zebra"):
        verify_model(trained.model, data=tmp_path)


def test_synthetic_golden_pictures_prove_too(trained: Trained, remade: Remade) -> None:
    from mobilenets.deploy import golden_vectors

    record = trained.model.record
    golden = golden_vectors(
        trained.network,
        record.preprocess,
        task=record.task,
        labels=record.labels,
        calibration=record.calibration,
        samples=trained.dataset.val,
        photos=False,
    )
    assert golden.index.kind == "synthetic"
    assert all(image.label is None for image in golden.index.images)
    photos = {sample.file.read_bytes() for sample in trained.dataset.samples}
    assert not photos & set(golden.encoded)
    model = remade(golden=golden, record=replace(record, golden="synthetic"))
    assert failed(verify_model(model)) == set()
    nudged = model.path.parent / "nudged.onnx"
    nudged.write_bytes(edited(trained, nudge_a_weight))
    assert "logits" in failed(verify_model(model, file=nudged))


def test_relative_errors_by_hand() -> None:
    one = (np.array([[1.0, -4.0]]),)
    assert relative_errors(one, (np.array([[1.0, -3.0]]),)) == (0.25, 0.125)
    assert relative_errors(one, one) == (0.0, 0.0)
    assert relative_errors(one, (np.array([[1.0]]),)) == (np.inf, np.inf)
    assert relative_errors(one, (np.array([[np.nan, 0.0]]),)) == (np.inf, np.inf)
    assert relative_errors(one, (*one, *one)) == (np.inf, np.inf)
