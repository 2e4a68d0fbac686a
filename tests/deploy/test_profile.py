"""Profiles: the operators' shapes give the multiply-adds that `measure` counts, and words follow the figures."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from deploy.conftest import Trained, tiny_spec

from mobilenets.codec import from_json, to_json
from mobilenets.deploy import profile_model
from mobilenets.deploy.explaining import explain
from mobilenets.deploy.profilers import PROFILERS, _macs
from mobilenets.deploy.profiling import layer_of
from mobilenets.deploy.roofline import measure_roofline
from mobilenets.errors import UsageError
from mobilenets.measure import cost
from mobilenets.records import Machine, OperatorTime, Profile, ProfileRow, Roofline
from mobilenets.specs import resolve


@pytest.mark.parametrize("target", sorted(PROFILERS))
def test_every_multiply_add_is_found_in_an_operator(trained: Trained, target: str) -> None:
    if target == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    source = trained.model.path if target == "onnx" else tiny_spec()
    profile = profile_model(source, target=target, runs=5)
    layers = {layer.name: layer.macs for layer in cost(tiny_spec()).layers}
    found = dict.fromkeys(layers, 0)
    for operator in profile.operators:
        if operator.layer:
            found[operator.layer] += operator.macs
        else:
            assert operator.macs == 0, f"{operator.name} multiplies and belongs to no layer"
    assert found == layers
    assert {row.name: row.macs for row in profile.layers if row.macs} == layers
    assert sum(row.share for row in profile.kinds) == pytest.approx(1)
    assert sum(row.ms for row in profile.layers) == pytest.approx(profile.profiled_ms)
    assert sum(row.macs for row in profile.kinds) == cost(tiny_spec()).macs
    assert profile.profiled_ms > 0
    assert all(row.bound_ms > 0 for row in profile.layers if row.macs)
    assert profile.median_ms > 0
    assert profile.words
    assert from_json(Profile, to_json(profile)) == profile


def test_a_file_of_unknown_network_is_told_by_its_shapes(trained: Trained) -> None:
    bare = profile_model(trained.model.local("onnx/model.onnx"), runs=3)
    known = profile_model(trained.model.path, runs=3)
    assert sum(row.macs for row in bare.kinds) == sum(row.macs for row in known.kinds)
    kinds = {row.kind for row in bare.kinds}
    assert {"pointwise", "depthwise 3x3", "depthwise 5x5", "convolution 3x3", "linear"} <= kinds


def test_a_batch_multiplies(trained: Trained) -> None:
    one, four = (profile_model(trained.model.path, runs=3, batch=batch) for batch in (1, 4))
    assert sum(row.macs for row in four.kinds) == 4 * sum(row.macs for row in one.kinds)


def test_runtimes_that_tell_nothing_name_those_that_do(trained: Trained, tmp_path: Path) -> None:
    if importlib.util.find_spec("ai_edge_litert") is None:
        pytest.skip("ai_edge_litert is not installed")
    with pytest.raises(UsageError, match="LiteRT shows no operator times") as raised:
        profile_model(tiny_spec(), target="litert")
    assert "onnx or openvino" in raised.value.hint
    with pytest.raises(UsageError, match="at least 1"):
        profile_model(trained.model.path, runs=0)


def test_layers_are_found_in_names() -> None:
    layers = ("stem.conv", "blocks.1.dw", "blocks.1.se", "blocks.11.dw", "hidden", "classifier")

    def of(name: str, kind: str = "Conv") -> str:
        return layer_of(OperatorTime(name, kind, 1.0), layers)

    assert of("backbone.stem.conv.conv") == "stem.conv"
    assert of("backbone.blocks.1.dw.act") == "blocks.1.dw"
    assert of("backbone.blocks.11.dw.act") == "blocks.11.dw"
    assert of("backbone.blocks.1.se") == "blocks.1.se"
    assert of("backbone.blocks.1.dw.conv/WithoutBiases") == "blocks.1.dw"
    assert of("hidden.0.conv") == "hidden"
    assert of("logits", "Gemm") == "classifier"
    assert of("backbone.blocks.1.Add", "Add") == ""
    assert of("image_abcd_acdb_backbone.stem.conv.conv", "Reorder") == ""


def test_multiply_adds_by_shapes() -> None:
    assert _macs("Conv", [(1, 16, 8, 8), (24, 16, 1, 1)], (1, 24, 8, 8)) == 24 * 64 * 16
    assert _macs("Conv", [(1, 16, 8, 8), (16, 1, 3, 3)], (1, 16, 4, 4)) == 16 * 16 * 9
    assert _macs("GroupConvolution", [(1, 16, 8, 8), (16, 1, 1, 3, 3)], (1, 16, 4, 4)) == 16 * 16 * 9
    assert _macs("MatMul", [(2, 5, 7), (2, 7, 3)], (2, 5, 3)) == 2 * 5 * 7 * 3
    assert _macs("FusedMatMul", [(1, 7, 5), (1, 7, 3)], (1, 5, 3)) == 5 * 7 * 3
    assert _macs("MatMul", [(2, 5, 7), (7, 3)], (2, 5, 3)) == 2 * 5 * 7 * 3
    assert _macs("Gemm", [(4, 7)], (4, 3)) == 4 * 7 * 3
    assert _macs("FullyConnected", [(4, 7), (3, 7)], (4, 3)) == 4 * 7 * 3
    assert _macs("Add", [(4, 7), (4, 7)], (4, 7)) == 0


def test_the_roofline_is_of_this_earth() -> None:
    roof = measure_roofline(threads=1, working_set_mb=1.0)
    assert 0.1 < roof.gmacs_per_s < 10_000
    assert 0.1 < roof.gb_per_s < 10_000
    assert (roof.threads, roof.working_set_mb) == (1, 1.0)


ROOF = Roofline(50.0, 20.0, 1.0, 1)


def kind(name: str, ms: float, *, macs: int = 0, moved: int = 0) -> ProfileRow:
    compute, memory = macs / 50e6, moved / 20e6
    bound = "compute" if compute > memory else "memory"
    most = max(compute, memory)
    return ProfileRow(name, name, 3, ms, ms / 10, macs, moved, 0.0, bound, most, most / ms)


def profile(*kinds: ProfileRow, outside: int | None = None) -> Profile:
    machine = Machine("cpu", 1, 1.0, "Linux", "3.11")
    return Profile(machine, "n", "onnx", "float32", 1, 1, (224, 224), 10.0, 10.0, ROOF, kinds, kinds, (), outside)


def test_words_follow_the_figures() -> None:
    (near,) = explain(profile(kind("pointwise", 6.0, macs=240_000_000)), None)
    assert near.startswith("60 % of the time is in 1x1 convolutions, at 80 % of what this machine can do (40.0 of 50.0")
    assert "only fewer multiply-adds help" in near
    (far,) = explain(profile(kind("pointwise", 6.0, macs=24_000_000)), None)
    assert "the kernels fall short" in far
    (moved,) = explain(profile(kind("depthwise 5x5", 5.0, macs=1, moved=80_000_000)), None)
    assert "memory bounds them, so a lower resolution helps in proportion" in moved
    assert "16.0 of 20.0 GB/s" in moved
    (fallen,) = explain(profile(outside=7), None)
    assert fallen == "7 operators fell out of the delegate and run on the slow path"
    assert explain(profile(kind("pointwise", 1.0, macs=1)), None) == (), "what takes a tenth is not worth a word"
    slow = replace(profile(), profiled_ms=20.0)
    assert "the profiler itself costs time" in explain(slow, None)[0]


def test_what_a_smaller_one_would_take_is_foretold_by_what_bounds_it() -> None:
    spec = resolve("mobilenetv2")
    whole = profile(kind("pointwise", 10.0, macs=400_000_000))
    narrow, low = explain(whole, spec)[1:]
    mine, other = (
        sum(layer.macs for layer in cost(resolve("mobilenetv2", alpha=alpha)).layers if layer.kind == "pointwise")
        for alpha in (1.0, 0.75)
    )
    assert narrow.startswith(f"alpha 0.75 would take about {10 * other / mine:.3g} ms")
    assert low.startswith("192x192 pixels would take about")
    ms = float(low.split("about ")[1].split(" ")[0])
    assert ms == pytest.approx(10 * (192 / 224) ** 2, rel=0.02)
    own = explain(whole, replace(spec, name="my own"))
    assert not any(words.startswith("alpha") for words in own)
