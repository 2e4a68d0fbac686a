"""V1 line by line: Howard et al. 2017, arXiv:1704.04861, tables 1 to 3, 10, 12 and 14, as papers.md recomputes them."""

import pytest

from mobilenets.measure import Cost, cost, count_step
from mobilenets.specs import ConvStep, resolve
from mobilenets.specs.steps import map_size

# Table 1 at 224 px: (c_out, stride, side of the output, weights and MACs of the depthwise, of the pointwise).
TABLE_1 = (
    (64, 1, 112, (288, 3_612_672), (2_048, 25_690_112)),
    (128, 2, 56, (576, 1_806_336), (8_192, 25_690_112)),
    (128, 1, 56, (1_152, 3_612_672), (16_384, 51_380_224)),
    (256, 2, 28, (1_152, 903_168), (32_768, 25_690_112)),
    (256, 1, 28, (2_304, 1_806_336), (65_536, 51_380_224)),
    (512, 2, 14, (2_304, 451_584), (131_072, 25_690_112)),
    *((512, 1, 14, (4_608, 903_168), (262_144, 51_380_224)),) * 5,
    (1024, 2, 7, (4_608, 225_792), (524_288, 25_690_112)),
    (1024, 1, 7, (9_216, 451_584), (1_048_576, 51_380_224)),
)


def v1(**variations: int | float | tuple[int, int]) -> Cost:
    return cost(resolve("mobilenetv1", **variations))  # type: ignore[arg-type]  # spelled out at each call


def test_table_1() -> None:
    layers = {layer.name: layer for layer in v1().layers}
    stem = layers["stem.conv"]
    assert (stem.params - 2 * 32, stem.macs, stem.size_px) == (864, 10_838_016, (112, 112))
    for i, (c_out, stride, side, dw, pw) in enumerate(TABLE_1):
        first, second = layers[f"blocks.{i}.dw"], layers[f"blocks.{i}.pw"]
        assert (first.params - 2 * first.c_out, first.macs) == dw
        assert (second.params - 2 * c_out, second.macs) == pw
        assert (second.c_out, first.stride, second.size_px) == (c_out, (stride, stride), (side, side))
    assert len(layers) == 1 + 2 * 13 + 1, "28 layers counting dw and pw apart, with the classifier"


def test_totals() -> None:
    found = v1()
    body = found.params - found.norm_params - 1_025_000
    assert (body, found.norm_params, found.params) == (3_185_088, 21_888, 4_231_976)
    assert (found.macs - 1_024_000, found.macs) == (567_716_352, 568_740_352)
    assert v1(classes=1001).params == 4_233_001


def test_table_2_shares() -> None:
    """Shares of MACs and of weights (batch norms and the classifier's bias left out)."""
    found = v1()
    weights = found.params - found.norm_params - 1000

    def share(*kinds: str) -> tuple[float, float]:
        layers = [layer for layer in found.layers if layer.kind in kinds]
        others = sum(layer.c_out if layer.kind == "linear" else 2 * layer.c_out for layer in layers)
        return (
            round(100 * sum(layer.macs for layer in layers) / found.macs, 2),
            round(100 * (sum(layer.params for layer in layers) - others) / weights, 2),
        )

    assert share("pointwise") == pytest.approx((94.86, 74.59))
    assert share("depthwise") == pytest.approx((3.06, 1.06))
    assert share("linear") == pytest.approx((0.18, 24.33))
    assert share("convolution") == pytest.approx((1.91, 0.02)), "the paper prints 1.19 for 1.91"


def layer_macs(*steps: ConvStep, px: int) -> tuple[int, int]:
    """(MACs, weights) of steps in a row."""
    size, macs, weights = (px, px), 0, 0
    for step in steps:
        counted = count_step(step, size)
        macs, weights, size = macs + counted.macs, weights + counted.weights, map_size(step, size)
    return macs, weights


def test_table_3_and_equations_2_to_5() -> None:
    """One layer, kernel 3, 512 to 512 channels on 14x14: full, separable, alpha 0.75, rho 0.714."""
    full = layer_macs(ConvStep("c", 512, 512, (3, 3)), px=14)
    assert full == (9 * 512 * 512 * 14 * 14, 9 * 512 * 512)

    def separable(c: int, px: int) -> tuple[int, int]:
        return layer_macs(ConvStep("dw", c, c, (3, 3), groups=c), ConvStep("pw", c, c), px=px)

    assert separable(512, 14) == (9 * 512 * 196 + 512 * 512 * 196, 9 * 512 + 512 * 512)
    assert separable(512, 14)[0] / full[0] == pytest.approx(1 / 512 + 1 / 9)
    for (macs, weights), printed in (
        (full, (462, 2.36)),
        (separable(512, 14), (52.3, 0.27)),
        (separable(384, 14), (29.6, 0.15)),
        (separable(384, 10), (15.1, 0.15)),
    ):
        assert (macs / 1e6, weights / 1e6) == pytest.approx(printed, rel=0.02)


@pytest.mark.parametrize(
    ("alpha", "px", "macs_m", "params_m"),
    [
        (1.0, 224, 569, 4.2),
        (0.75, 224, 325, 2.6),
        (0.5, 224, 149, 1.3),
        (0.25, 224, 41, 0.5),
        (1.0, 192, 418, 4.2),
        (1.0, 160, 291, 4.2),
        (1.0, 128, 186, 4.2),
        (0.5, 160, 77, 1.32),
    ],
)
def test_tables_5_to_9(alpha: float, px: int, macs_m: int, params_m: float) -> None:
    found = v1(alpha=alpha, resolution_px=(px, px))
    assert round(found.macs / 1e6) == macs_m
    assert found.params / 1e6 == pytest.approx(params_m, abs=0.05)


@pytest.mark.parametrize(("alpha", "params_m"), [(1.0, 3.330), (0.75, 1.909)])
def test_table_10_stanford_dogs(alpha: float, params_m: float) -> None:
    assert round(v1(alpha=alpha, classes=120).params / 1e6, 3) == params_m


@pytest.mark.parametrize(
    ("alpha", "params_m", "macs_224_m", "macs_128_m"),
    [(1.0, 3.207, 567.7, 185.4), (0.5, 0.819, 149.0, 48.6), (0.25, 0.213, 40.8, 13.3)],
)
def test_table_12_bodies(alpha: float, params_m: float, macs_224_m: float, macs_128_m: float) -> None:
    """Face attributes: counts without a classifier."""
    at_224, at_128 = (v1(alpha=alpha, classes=0, resolution_px=(px, px)) for px in (224, 128))
    assert round(at_224.params / 1e6, 3) == params_m
    assert (round(at_224.macs / 1e6, 1), round(at_128.macs / 1e6, 1)) == (macs_224_m, macs_128_m)


def test_table_14_row_named_twice() -> None:
    """FaceNet students: the first row called 0.75-128 is 0.75-160 by its MACs."""
    with_embedding = v1(alpha=0.75, classes=128, resolution_px=(160, 160))
    assert round(with_embedding.macs / 1e6, 1) == 165.7


def test_readme_counts_three_vectors_per_norm() -> None:
    found = [v1(alpha=alpha) for alpha in (1.0, 0.75, 0.5, 0.25)]
    assert [round((c.params + c.norm_params // 2) / 1e6, 3) for c in found] == [4.243, 2.594, 1.337, 0.473]


def test_v2_readme_leaves_norms_out() -> None:
    found = [cost(resolve("mobilenetv2", alpha=alpha)) for alpha in (1.4, 1.0, 0.75, 0.5, 0.35)]
    assert [round((c.params - c.norm_params) / 1e6, 3) for c in found] == [6.061, 3.471, 2.610, 1.950, 1.663]
    assert [round(cost(resolve("mobilenetv2", alpha=a, classes=1001)).params / 1e6, 3) for a in (1.4, 1.3, 0.35)] == [
        6.111,
        5.388,
        1.678,
    ]
