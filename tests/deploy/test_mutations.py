"""The gate catches every known way in which deployed files have been wrong, names it, and cries wolf at none."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deploy.conftest import LABELS, Trained, record_of, small_network
from deploy.mutations import mutants
from deploy.test_verify import (
    answer_nan,
    edited,
    nudge_a_weight,
    round_to_half,
    swap_the_colours,
    swap_two_classes,
)
from PIL import Image
from torch import nn

from mobilenets.bundle import ModelFile, create_model_file
from mobilenets.data import preprocess
from mobilenets.deploy import facts_of, golden_vectors, source_of, verify_model
from mobilenets.deploy.culprit import column_order
from mobilenets.deploy.targets import TARGETS
from mobilenets.deploy.tracing import PLAIN, Form
from mobilenets.deploy.trained import runner
from mobilenets.models import state_arrays
from mobilenets.records import Preprocess
from mobilenets.specs import resolve

Remade = Callable[..., ModelFile]


@pytest.mark.parametrize(
    ("twin", "culprit"),
    [
        (swap_the_colours, "colour_order"),
        (swap_two_classes, "label_order"),
        (round_to_half, "precision"),
        (nudge_a_weight, "stale_weights"),
        (answer_nan, "unknown"),
    ],
)
def test_the_culprit_inside_the_file_is_named(
    trained: Trained, tmp_path: Path, twin: Callable[..., None], culprit: str
) -> None:
    file = tmp_path / "twin.onnx"
    file.write_bytes(edited(trained, twin))
    proof = verify_model(trained.model, file=file, reference=source_of(trained.model, network=trained.network))
    assert (proof.passed, proof.culprit) == (False, culprit)
    assert proof.evidence
    assert "\n" not in proof.evidence
    if culprit == "colour_order":
        assert proof.first_layer == "backbone.stem.conv.conv"
    if culprit == "precision":  # half precision moves sums of 27 products by about the limit: here or a layer later
        assert proof.first_layer is not None
        assert proof.first_layer.startswith("backbone.stem.")


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        ({"colour": "bgr"}, "colour_order"),
        ({"mean": (0.5, 0.5, 0.5)}, "mean_std"),
        ({"std": (0.25, 0.25, 0.25)}, "mean_std"),
        ({"interpolation": "bicubic"}, "resize"),
        ({"antialias": False}, "resize"),
        ({"crop_ratio": 0.95}, "crop"),
        ({"fit": "stretch"}, "crop"),
    ],
    ids=lambda value: str(value),
)
def test_the_culprit_beside_the_file_is_named(
    trained: Trained, remade: Remade, change: dict[str, object], culprit: str
) -> None:
    record = trained.model.record
    proof = verify_model(remade(record=replace(record, preprocess=replace(record.preprocess, **change))))
    assert (proof.passed, proof.culprit) == (False, culprit)


def test_pixels_of_another_decoder_are_the_decoders(trained: Trained, remade: Remade) -> None:
    golden = trained.model.golden()
    noise = np.random.default_rng(0).choice([-3, 0, 3], golden.inputs.shape) / 255 / 0.225
    moved = replace(golden, inputs=(golden.inputs + noise).astype(np.float32))
    proof = verify_model(remade(golden=moved))
    assert "preprocess" in {check.name for check in proof.checks if not check.passed}
    assert proof.culprit in ("decoder", "stale_weights")  # golden outputs no longer fit the golden tensors either


def test_orientation_that_was_not_obeyed_is_named(trained: Trained, remade: Remade) -> None:
    golden, record = trained.model.golden(), trained.model.record.preprocess
    encoded, stored = [], []
    for noise in np.random.default_rng(0).integers(0, 256, (len(golden), 60, 44, 3), np.uint8):
        buffer, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = 6  # a quarter turn
        Image.fromarray(noise).save(buffer, "JPEG", exif=exif, quality=95)
        encoded.append(buffer.getvalue())
        stored.append(np.asarray(Image.open(buffer)))
    inputs = np.stack([preprocess(pixels, record) for pixels in stored])
    twin = replace(golden, encoded=tuple(encoded), inputs=inputs, outputs=runner(trained.network)(inputs))
    proof = verify_model(remade(golden=twin))
    assert (proof.passed, proof.culprit) == (False, "exif"), proof.evidence


def test_columns_in_another_order() -> None:
    reference = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
    assert column_order(reference, reference, 1e-4) == ""
    assert column_order(reference, reference + 1, 1e-4) == ""
    assert column_order(reference, np.roll(reference, 1, axis=1), 1e-4) == "all 5 classes moved by 1"
    more = np.concatenate([np.zeros((8, 1), np.float32), reference], axis=1)
    assert column_order(reference, more, 1e-4) == "all 5 classes moved by 1 among 6 columns"
    assert column_order(reference, reference[:, [1, 0, 2, 3, 4]], 1e-4).startswith("2 of 5 classes")


# x / 127.5 - 1 in all of them: the scale that one of the mutants gets wrong.
NETWORKS = {
    "V1": ("mobilenetv1", "symmetric", Preprocess((32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)),
    "V2, SAME": ("mobilenetv2", "same", Preprocess((32, 32), mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic")),
    "V3-Small": (
        "mobilenetv3_small",
        "symmetric",
        Preprocess((32, 32), mean=(0.5,) * 3, std=(0.5,) * 3, fit="central_then_stretch"),
    ),
    "V4-Conv-Small": (
        "mobilenetv4_conv_small",
        "symmetric",
        Preprocess((32, 32), mean=(0.5,) * 3, std=(0.5,) * 3, fit="stretch", interpolation="bicubic"),
    ),
}
# Every network in ONNX, whose files can be looked into best; one network in the other targets that run everywhere.
CASES = [*((name, "onnx") for name in NETWORKS), ("V1", "litert"), ("V1", "openvino")]


def made(name: str, folder: Path) -> tuple[ModelFile, nn.Module]:
    known, padding, preprocess = NETWORKS[name]
    spec = replace(resolve(known, alpha=0.25, resolution_px=(32, 32), classes=3), padding=padding)
    network = small_network(spec)
    record = record_of(spec, preprocess=preprocess)
    golden = golden_vectors(
        network,
        preprocess,
        task=record.task,
        labels=LABELS,
        calibration=record.calibration,
        samples=(),
        photos=False,
    )
    return create_model_file(folder / "model", record, weights=state_arrays(network), golden=golden), network


@pytest.mark.slow
@pytest.mark.parametrize(("name", "target_name"), CASES)
def test_every_mutant_is_caught_and_named_and_the_clean_files_pass(name: str, target_name: str, tmp_path: Path) -> None:
    model, network = made(name, tmp_path)
    target, reference = TARGETS[target_name], source_of(model, network=network)
    facts = facts_of(model.record, precision="float32", weights_sha256=model.weights_sha256)
    for form in (PLAIN, Form(with_preprocess=True)):
        clean = tmp_path / f"clean_{form.with_preprocess}{target.suffix}"
        target.export(replace(reference, form=form), clean, facts=facts)
        proof = verify_model(model, file=clean, reference=reference)
        assert (proof.passed, proof.culprit, proof.first_layer) == (True, None, None), proof
    found = {}
    for mutant in mutants(model, network, target, tmp_path):
        proof = verify_model(model, file=mutant.path, reference=reference)
        found[mutant.name] = (proof.passed, proof.culprit, mutant.culprit)
    assert not {mutant: said for mutant, said in found.items() if said[0] or said[1] != said[2]}
    assert len(found) == (12 if target_name == "onnx" else 8)
