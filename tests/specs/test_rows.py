"""Rows lower to the steps that their papers draw, and refuse what can't be."""

from typing import Any

import pytest

from mobilenets.errors import SpecError
from mobilenets.specs import (
    MQA,
    SE,
    UIB,
    Bottleneck,
    Conv,
    ConvStep,
    Depthwise,
    FusedBottleneck,
    HardSigmoid,
    LeakyRelu,
    Pool,
    PoolStep,
    PRelu,
    Separable,
    SqueezeStep,
    map_size,
)


def conv(step: object) -> ConvStep:
    assert isinstance(step, ConvStep)
    return step


def test_bottleneck_of_v3() -> None:
    """V3 table 1, row 4: exp 72, 40 out, gate of 24, 5x5, stride 2."""
    expand, dw, se, project = Bottleneck(5, 72, 40, 2, se=SE(24)).steps(24, "symmetric")
    assert expand == ConvStep("expand", 24, 72, act="relu")
    assert dw == ConvStep("dw", 72, 72, (5, 5), (2, 2), groups=72, act="relu")
    assert se == SqueezeStep("se", 72, 24, "relu", "hard_sigmoid")
    assert project == ConvStep("project", 72, 40)


def test_stride_pairs_kernels_and_padding_travel_to_the_step() -> None:
    step = conv(Conv((3, 5), 8, (2, 1), padding_free := LeakyRelu(0.1)).steps(4, "same")[0])
    assert (step.kernel, step.stride, step.act, step.padding) == ((3, 5), (2, 1), padding_free, "same")


@pytest.mark.parametrize(
    ("norm", "batch", "bias"),
    [("batch", True, False), ("batch_bias", True, True), ("bias", False, True), ("none", False, False)],
)
def test_norms(norm: Any, batch: bool, bias: bool) -> None:
    rows = (
        Conv(3, 8, norm=norm),
        Separable(3, 8, norm=norm),
        Bottleneck(3, 16, 8, norm=norm),
        UIB(3, 3, 16, 8, norm=norm),
    )
    for row in rows:
        assert {(conv(s).norm, conv(s).bias) for s in row.steps(8, "symmetric")} == {(batch, bias)}


def test_depthwise_multiplier_and_global_tail() -> None:
    wide = conv(Depthwise(3, 2).steps(8, "symmetric")[0])
    assert (wide.c_in, wide.c_out, wide.groups) == (8, 16, 8)
    assert Depthwise(3, 2).outputs(8) == 16
    tail = conv(Depthwise((7, 6), act="none", pad=False).steps(512, "symmetric")[0])
    assert map_size(tail, (7, 6)) == (1, 1)
    assert tail.is_depthwise


def test_no_expansion_where_hidden_equals_input() -> None:
    assert [s.name for s in Bottleneck(3, 16, 16).steps(16, "symmetric")] == ["dw", "project"]


@pytest.mark.parametrize(("how", "kernel"), [("avg", (2, 2)), ("blur", (3, 3))])
def test_pooling_takes_over_the_stride(how: Any, kernel: tuple[int, int]) -> None:
    _, dw, aa, _ = Bottleneck(3, 16, 8, 2, downsample=how).steps(8, "symmetric")
    assert conv(dw).stride == (1, 1)
    assert aa == PoolStep("aa", 16, how, kernel, (2, 2), "symmetric")
    names = [s.name for s in UIB(3, 0, 16, 8, 2, downsample=how).steps(8, "symmetric")]
    assert names == ["start_dw", "aa", "expand", "project"]
    assert len(Bottleneck(3, 16, 8, 1, downsample=how).steps(8, "symmetric")) == 3


@pytest.mark.parametrize(
    ("row", "c_in", "skips"),
    [
        (Bottleneck(3, 48, 8), 8, True),
        (Bottleneck(3, 48, 8, skip=False), 8, False),
        (Bottleneck(3, 48, 8, 2), 8, False),
        (Bottleneck(3, 48, 8, (1, 2)), 8, False),
        (Bottleneck(3, 48, 8, (1, 1)), 8, True),
        (Bottleneck(3, 48, 16), 8, False),
        (FusedBottleneck(3, 48, 8), 8, True),
        (UIB(3, 3, 48, 8), 8, True),
        (MQA(4, 64), 8, True),
        (Conv(3, 8), 8, False),
        (Separable(3, 8), 8, False),
        (Pool("max", 2, 2), 8, False),
    ],
)
def test_skips(row: Any, c_in: int, skips: bool) -> None:
    assert row.has_skip(c_in) is skips


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding", "out"),
    [
        (224, 3, 2, "symmetric", 112),
        (225, 3, 2, "symmetric", 113),
        (224, 3, 2, "same", 112),
        (225, 3, 2, "same", 113),
        (7, 7, 1, "valid", 1),
        (6, 7, 1, "valid", 0),
        (8, 3, 2, "valid", 3),
    ],
)
def test_map_sizes(side: int, kernel: int, stride: int, padding: Any, out: int) -> None:
    step = ConvStep("c", 1, 1, (kernel, kernel), (stride, stride), padding=padding)
    assert map_size(step, (side, side)) == (out, out)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv(2, 8), "Conv.kernel must be odd, not 2"),
        (lambda: Conv((3, 4), 8), "Conv.kernel must be odd, not (3, 4)"),
        (lambda: Conv(3, 0), "Conv.c_out must be a whole number from 1 to 1000000, not 0"),
        (lambda: Conv(3, 8, -1), "Conv.stride must be a whole number from 1 to 64, not -1"),
        (lambda: Conv(3, 8, (1, 2, 3)), "Conv.stride must be a number or a pair, not (1, 2, 3)"),  # type: ignore[arg-type]  # the mistake tested
        (lambda: Conv(3, 8.0), "Conv.c_out must be a whole number from 1 to 1000000, not 8.0"),  # type: ignore[arg-type]  # the mistake tested
        (lambda: Conv(3, 8, act="rleu"), "Conv.act must be one of none, relu"),  # type: ignore[arg-type]  # the mistake tested
        (lambda: Conv(3, 8, norm="bn"), "Conv.norm must be 'batch'"),  # type: ignore[arg-type]  # the mistake tested
        (lambda: UIB(0, 0, 8, 8, 2), "UIB without a depthwise"),
        (lambda: UIB(3, 2, 8, 8), "UIB.middle must be odd, not 2"),
        (lambda: MQA(0, 8), "MQA.heads must be a whole number"),
        (lambda: MQA(1, 8, norm="none"), "MQA.norm must be 'batch' or 'bias'"),
        (lambda: Pool("blur", 2, 2), "Pool.kernel must be 3 or 5 for a blur"),
        (lambda: Pool("mean", 2, 2), "Pool.kind must be"),  # type: ignore[arg-type]  # the mistake tested
        (lambda: SE(0), "SE.c_squeeze must be a whole number"),
        (lambda: HardSigmoid(float("nan")), "HardSigmoid.slope must be a positive number, not nan"),
        (lambda: LeakyRelu(float("inf")), "LeakyRelu.slope must be a finite number, not inf"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        make()
    assert caught.value.message.startswith(message)
    assert "\n" not in caught.value.message


def test_values_are_hashable_and_comparable() -> None:
    assert {Bottleneck(3, 16, 8, act=PRelu()), Bottleneck(3, 16, 8, act=PRelu())} == {Bottleneck(3, 16, 8, act=PRelu())}
