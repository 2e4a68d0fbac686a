"""What is said of these networks, held against the tables (papers.md section 4 of the reference, as far as it speaks
of networks): each test names the claim."""

from itertools import pairwise

import pytest

from mobilenets.measure import Cost, cost
from mobilenets.specs import (
    CATALOGUE,
    MQA,
    SE,
    UIB,
    AttentionStep,
    Bottleneck,
    ConvStep,
    FusedBottleneck,
    PoolStep,
    ScaleStep,
    Separable,
    SqueezeStep,
    make_divisible,
    reduced_tail,
    resolve,
)


def measured(name: str, px: int = 224) -> Cost:
    return cost(resolve(name), resolution_px=(px, px))


def skips(name: str) -> int:
    return sum(row.has_skip(c_in) for _, row, c_in, _ in resolve(name).blocks())


def gates(name: str) -> int:
    return sum(isinstance(step, SqueezeStep) for _, _, step in resolve(name).steps())


def convolutions(name: str) -> int:
    """Convolutions from stem to hidden layer, without the classifier."""
    spec = resolve(name)
    return sum(isinstance(step, ConvStep) for _, _, step in spec.steps()) + bool(spec.head.c_hidden)


def test_full_convolutions_cost_eight_times_as_much() -> None:
    full, separable = measured("mobilenetv1_full"), measured("mobilenetv1")
    assert full.macs / separable.macs == pytest.approx(8.56, abs=0.005)
    assert full.params / separable.params == pytest.approx(6.92, abs=0.005)


def test_rho_costs_compute_only() -> None:
    found = {px: measured("mobilenetv1", px) for px in (224, 192, 160, 128)}
    assert len({c.params for c in found.values()}) == 1
    for px, c in found.items():
        assert c.macs / found[224].macs == pytest.approx((px / 224) ** 2, rel=0.02)


def test_alpha_costs_both() -> None:
    found = [cost(resolve("mobilenetv1", alpha=alpha)) for alpha in (1.0, 0.75, 0.5, 0.25)]
    assert all(a.params > b.params and a.macs > b.macs for a, b in pairwise(found))


@pytest.mark.parametrize(("name", "n"), [("mobilenetv2", 10), ("mobilenetv3_large", 10), ("mobilenetv3_small", 6)])
def test_skips(name: str, n: int) -> None:
    """A skip needs stride 1 and as many channels out as in."""
    assert skips(name) == n


@pytest.mark.parametrize(
    ("name", "n", "blocks"),
    [("mobilenetv3_large", 8, 15), ("mobilenetv3_small", 9, 11), ("mobilenetv3_large_minimal", 0, 15)],
)
def test_gates(name: str, n: int, blocks: int) -> None:
    assert gates(name) == n
    assert sum(isinstance(row, Bottleneck) for row in resolve(name).rows) == blocks


def test_convolution_counts() -> None:
    """28 layers are V1's, classifier included; V3 Large has 47 and the classifier, 63 with the gates' two each."""
    assert convolutions("mobilenetv1") + 1 == 28
    assert convolutions("mobilenetv3_large") == 47
    assert convolutions("mobilenetv3_large") + 2 * gates("mobilenetv3_large") == 63


def test_v2_bottlenecks() -> None:
    """Table 2 has 17; the text's 19 is a slip. The first has no expansion."""
    rows = [row for row in resolve("mobilenetv2").rows if isinstance(row, Bottleneck)]
    assert len(rows) == 17
    assert [step.name for step in rows[0].steps(32, "symmetric")] == ["dw", "project"]


@pytest.mark.parametrize("name", CATALOGUE)
def test_projections_are_linear(name: str) -> None:
    """No activation after a projection, in every block of every network that has one."""
    found = [step for _, _, step in resolve(name).steps() if isinstance(step, ConvStep) and step.name == "project"]
    assert all(step.act == "none" for step in found)
    assert found or resolve(name).generation == "v1"


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_max_pooling(name: str) -> None:
    assert not any(isinstance(step, PoolStep) and step.kind == "max" for _, _, step in resolve(name).steps())


def test_h_swish_in_the_second_half_of_v3() -> None:
    """V3 section 5.2: only where layers have 80 channels and more, and in the stem."""
    acts = [(row.c_out, row.act) for row in resolve("mobilenetv3_large").rows if isinstance(row, Bottleneck)]
    assert [act for _, act in acts] == ["relu"] * 6 + ["hard_swish"] * 9
    assert min(c for c, act in acts if act == "hard_swish") == 80


def test_v3_squeeze_is_a_quarter_of_the_expansion() -> None:
    """V3 table 1, in the order of its SE column: 24, 32, 32, 120, 168, 168, 240, 240."""
    found = [row.se.c_squeeze for row in resolve("mobilenetv3_large").rows if isinstance(row, Bottleneck) and row.se]
    assert found == [24, 32, 32, 120, 168, 168, 240, 240]
    small = [row.se.c_squeeze for row in resolve("mobilenetv3_small").rows if isinstance(row, Bottleneck) and row.se]
    assert small == [8, 24, 64, 64, 32, 40, 72, 144, 144]


def test_minimalistic_keeps_the_channels() -> None:
    """Same table, every kernel 3x3, ReLU everywhere, no gate."""
    for size in ("large", "small"):
        plain, lean = resolve(f"mobilenetv3_{size}"), resolve(f"mobilenetv3_{size}_minimal")
        assert [(b[2], b[3]) for b in plain.blocks()] == [(b[2], b[3]) for b in lean.blocks()]
        steps = [step for _, _, step in lean.steps() if isinstance(step, ConvStep)]
        assert {step.kernel for step in steps} == {(1, 1), (3, 3)}
        assert {step.act for step in steps} == {"relu", "none"}


def test_v3_design_savings() -> None:
    """V3 section 5.1: the late expansion and the 16-filter stem save 30 M and 10 M MACs; the head costs little."""
    layers = {layer.name: layer for layer in measured("mobilenetv3_large").layers}
    hidden = layers["hidden"]
    assert hidden.macs == 960 * 1280
    assert hidden.macs * 49 - hidden.macs > 30e6, "the 1280 channels before pooling would cost 49 times as much"


def test_v4_has_no_gate_and_attention_only_in_hybrids() -> None:
    for name, entry in CATALOGUE.items():
        kinds = {type(step) for _, _, step in entry.spec.steps()}
        if entry.generation == "v4":
            assert SqueezeStep not in kinds
            assert (AttentionStep in kinds) == (ScaleStep in kinds) == ("hybrid" in name)
            assert entry.spec.head.norm == "batch"


@pytest.mark.parametrize(
    ("name", "attention"),
    [
        ("mobilenetv4_hybrid_medium", [(4, 64, 2)] * 4 + [(4, 64, 1)] * 4),
        ("mobilenetv4_hybrid_large", [(8, 48, 2)] * 4 + [(8, 64, 1)] * 4),
    ],
)
def test_v4_attention(name: str, attention: list[tuple[int, int, int]]) -> None:
    rows = [row for row in resolve(name).rows if isinstance(row, MQA)]
    assert [(row.heads, row.key_dim, row.kv_stride) for row in rows] == attention


def test_uib_has_four_instances() -> None:
    """ExtraDW, inverted bottleneck, ConvNext-like, FFN; the start depthwise has no activation."""

    def names(start: int, middle: int) -> list[str]:
        return [step.name for step in UIB(start, middle, 64, 16).steps(16, "symmetric")]

    assert names(3, 3) == ["start_dw", "expand", "dw", "project"]
    assert names(0, 3) == ["expand", "dw", "project"]
    assert names(3, 0) == ["start_dw", "expand", "project"]
    assert names(0, 0) == ["expand", "project"]
    first, *_ = UIB(3, 3, 64, 16, 2).steps(16, "symmetric")
    assert isinstance(first, ConvStep)
    assert (first.act, first.stride) == ("none", (1, 1)), "the stride is on the middle depthwise"


def test_uib_without_start_is_a_bottleneck() -> None:
    assert UIB(0, 3, 96, 16).steps(16, "symmetric") == Bottleneck(3, 96, 16).steps(16, "symmetric")


@pytest.mark.parametrize(
    ("name", "taps"),
    [
        ("mobilenetv1", (64, 128, 256, 512, 1024)),
        ("mobilenetv2", (16, 24, 32, 96, 320)),
        ("mobilenetv3_large", (16, 24, 40, 112, 960)),
        ("mobilenetv3_small", (16, 16, 24, 48, 576)),
        ("mobilenetv4_conv_small", (32, 32, 64, 96, 960)),
        ("mobilenetv4_conv_medium", (32, 48, 80, 160, 960)),
        ("mobilenetv4_conv_large", (24, 48, 96, 192, 960)),
    ],
)
def test_pyramid(name: str, taps: tuple[int, ...]) -> None:
    """timm's feature taps at strides 2, 4, 8, 16, 32."""
    found = resolve(name).pyramid()
    assert tuple(tap.channels for tap in found) == taps
    assert tuple(tap.stride for tap in found) == (2, 4, 8, 16, 32)


@pytest.mark.parametrize(
    ("name", "tap", "channels", "stride"),
    [
        ("mobilenetv2", "blocks.13.expand", 576, 16),
        ("mobilenetv2", "blocks.17", 1280, 32),
        ("mobilenetv3_large", "blocks.12.expand", 672, 16),
        ("mobilenetv3_small", "blocks.8.expand", 288, 16),
        ("mobilenetv3_large", "blocks.15", 960, 32),
        ("mobilenetv3_small", "blocks.11", 576, 32),
        ("mobilenetv3_large", "blocks.5.dw", 120, 8),
        ("mobilenetv3_small", "blocks.2.dw", 88, 8),
        ("mobilenetv1", "blocks.10", 512, 16),
        ("mobilenetv1", "blocks.12", 1024, 32),
    ],
)
def test_taps_of_ssdlite_and_lraspp(name: str, tap: str, channels: int, stride: int) -> None:
    """V2 section 6.2, V3 sections 6.3 and 6.4: expansion, last and depthwise taps."""
    found = resolve(name).tap(tap)
    assert (found.channels, found.stride) == (channels, stride)


@pytest.mark.parametrize(
    ("name", "how", "outs", "hidden"),
    [
        ("mobilenetv3_large", "detection", (80, 80, 80, 480), (672, 480, 480)),
        ("mobilenetv3_large", "segmentation", (80, 80, 80, 480), (336, 480, 480)),
        ("mobilenetv3_small", "detection", (48, 48, 48, 288), (288, 288, 288)),
        ("mobilenetv3_small", "segmentation", (48, 48, 48, 288), (144, 288, 288)),
    ],
)
def test_reduced_tails(name: str, how: str, outs: tuple[int, ...], hidden: tuple[int, ...]) -> None:
    """slim's `_reduce_consecutive_layers` for detection, deeplab's for segmentation."""
    spec = reduced_tail(resolve(name), how)  # type: ignore[arg-type]  # one of the two words
    rows = spec.rows[-4:]
    assert tuple(row.outputs(0) for row in rows) == outs
    assert tuple(row.c_hidden for row in rows if isinstance(row, Bottleneck)) == hidden
    assert all(row.se == SE(make_divisible(row.c_hidden / 4)) for row in rows if isinstance(row, Bottleneck))


def test_widths_of_v2() -> None:
    """papers.md 1.2: the last convolution stays 1280 below alpha 1, grows above; 0.35 takes the stem to 16."""
    last = {alpha: resolve("mobilenetv2", alpha=alpha).channels for alpha in (0.35, 0.75, 1.0, 1.3, 1.4)}
    assert last == {0.35: 1280, 0.75: 1280, 1.0: 1280, 1.3: 1664, 1.4: 1792}
    assert resolve("mobilenetv2", alpha=0.35).stem.c_out == 16


def test_v1_truncates_and_timm_rounds() -> None:
    """papers.md 5.1: equal at 0.25, 0.5, 0.75 and 1, different at odd widths."""
    for alpha in (0.25, 0.5, 0.75, 1.0):
        ours, timms = resolve("mobilenetv1", alpha=alpha), resolve("mobilenetv1_100", alpha=alpha)
        assert cost(ours).params == cost(timms).params
    widths = [row.c_out for row in resolve("mobilenetv1", alpha=0.3).rows if isinstance(row, Separable)]
    assert widths[:3] == [19, 38, 38]
    rounded = [row.c_out for row in resolve("mobilenetv1_100", alpha=0.3).rows if isinstance(row, Separable)]
    assert rounded[:3] == [24, 40, 40]


def test_edgetpu_first_block() -> None:
    """A fused block of expansion 1 is one linear 1x1 in slim, with a ReLU in timm."""
    ours, timms = (
        resolve(n).rows[0].steps(32, "symmetric")[0] for n in ("mobilenetv3_edgetpu", "mobilenet_edgetpu_100")
    )
    assert isinstance(ours, ConvStep)
    assert isinstance(timms, ConvStep)
    assert (ours.kernel, ours.act, timms.act) == ((1, 1), "none", "relu")


def test_edgetpu_v2_groups() -> None:
    """Grouped fused rows have groups of 64 channels, 128 in l."""
    for size, group in (("xs", 64), ("s", 64), ("m", 64), ("l", 128)):
        rows = [row for row in resolve(f"mobilenet_edgetpu_v2_{size}").rows if isinstance(row, FusedBottleneck)]
        assert {row.c_hidden // row.groups for row in rows if row.groups > 1} == {group}
