"""Parameters and MACs against every published figure, each counted as its source counts.

published.csv holds the printed figures (millions), the way of counting of each source, and whether it agrees; the rows
that do not are misprints and older counts of the sources, explained in DISAGREEMENTS. counts.csv holds exact counts
of an independent implementation at parity with timm and torchvision.
"""

import csv
from pathlib import Path

import pytest

from mobilenets.measure import Cost, cost
from mobilenets.measure.walk import walk
from mobilenets.specs import ConvStep, Spec, resolve

HERE = Path(__file__).parent

DISAGREEMENTS = {
    ("mobilenetv1", 0.5, 224, "150"): "on the edge of rounding: 149.497; the paper prints 149",
    ("mobilenetv1", 0.25, 192, "34"): "misprint: 41 M at 224 px is 30 M at 192",
    ("mobilenetv1_full", 1.0, 224, "4866"): "leaves out the classifier's 1.02 M",
    ("mobilenetv2", 1.4, 224, "585"): "misprint: the authors' own table says 6.06 M and 582 M",
    ("mobilenetv3_small", 1.0, 224, "66"): "an older count, of the head with 1280 channels",
    ("mobilenetv3_small", 0.75, 224, "44"): "the head with 1280 channels (2.41 M, 43.8 M)",
    ("mobilenetv3_small_minimal", 1.0, 224, "65"): "not explained; the parameters agree",
    ("mobilenetv3_large", 1.0, 224, "219"): "an older count: slim's table says 217",
}


def read(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(newline="") as lines:
        return list(csv.DictReader(lines))


def measured(name: str, alpha: float | None, px: int, **kwargs: int) -> Cost:
    return cost(resolve(name, alpha=alpha, **kwargs), resolution_px=(px, px))


def stem_macs(spec: Spec, px: int) -> int:
    return next(layer.macs for layer in cost(spec, resolution_px=(px, px)).layers if layer.name == "stem.conv")


def norm_outputs(spec: Spec, px: int) -> int:
    """Elements that pass a batch norm, for the source that counts two operations for each."""
    total = 0
    for placed in walk(spec, (px, px)):
        if isinstance(placed.step, ConvStep):
            total += placed.elements_out if placed.step.norm else 0
        elif hasattr(placed.step, "kv_stride"):
            h, w = placed.size_in
            kv = -(-h // placed.step.kv_stride) * -(-w // placed.step.kv_stride)
            total += placed.elements_in + (2 * placed.c_in * kv if placed.step.kv_stride > 1 else 0)
    return total


def counted_as(spec: Spec, px: int, how: str) -> tuple[float, float]:
    """(millions of parameters, millions of MACs) in a source's way of counting."""
    found = cost(spec, resolution_px=(px, px))
    params, macs = found.params / 1e6, found.macs / 1e6
    for rule in how.split("; "):
        match rule:
            case "no norm":
                params -= found.norm_params / 1e6
            case "three norm vectors":
                params += found.norm_params / 2e6
            case "no stem MACs":
                macs -= stem_macs(spec, px) / 1e6
            case "norm as two operations":
                macs += 2 * norm_outputs(spec, px) / 1e6
            case "binary units":
                params, macs = params * 1e6 / 2**20, macs * 1e9 / 2**30
            case "plain":
                pass
            case _:
                raise ValueError(rule)
    return params, macs


def agrees(ours: float, printed: str, unit: float = 1.0) -> bool:
    """Whether `ours` rounds or truncates to the digits printed; `unit` is the step of whole numbers."""
    step = 10.0 ** -len(printed.partition(".")[2]) if "." in printed else unit
    return round(float(printed) / step) in (round(ours / step), int(ours / step))


@pytest.mark.parametrize("row", read("published.csv"), ids=lambda r: f"{r['network']}-{r['alpha']}-{r['side_px']}")
def test_published_figures(row: dict[str, str]) -> None:
    px = int(row["side_px"])
    spec = resolve(row["network"], alpha=float(row["alpha"]))
    params, macs = counted_as(spec, px, row["counting"])
    unit = {"V4 paper, table 6": 100.0, "timm benchmark results": 10.0}.get(row["source"], 1.0)
    wrong = [
        name
        for name, ok in (("params", agrees(params, row["params_M"])), ("macs", agrees(macs, row["macs_M"], unit)))
        if not ok
    ]
    verdict = f"no ({' and '.join(wrong)})" if wrong else "yes"
    assert verdict == row["agrees"]
    if wrong:
        assert (row["network"], float(row["alpha"]), px, row["macs_M"]) in DISAGREEMENTS


@pytest.mark.parametrize("row", read("counts.csv"), ids=lambda r: f"{r['network']}-{r['alpha']}-{r['side_px']}")
def test_exact_counts(row: dict[str, str]) -> None:
    found = measured(row["network"], float(row["alpha"]), int(row["side_px"]))
    if row["network"].startswith("mobilenetv4") and row["alpha"] != "1":
        pytest.fail("V4 widths are in TIMM_COUNTS")
    assert (found.params, found.macs) == (int(row["params"]), int(row["macs"]))


# name, alpha, side, params, MACs in millions as far as papers.md gives them; timm's, torchvision's and slim's own.
SOURCE_COUNTS = (
    ("mobilenetv1_100h", None, 224, 5_282_600, 620.1),
    ("mobilenetv1_125", None, 224, 6_270_840, 879.5),
    ("mobilenetv2_110d", None, 224, 4_516_520, 430.5),
    ("mobilenetv2_120d", None, 224, 5_831_144, 668.9),
    ("mobilenetv2_050", None, 224, 1_968_680, 97.1),
    ("mobilenetv2_140", None, 224, 6_108_776, 582.2),
    ("mobilenetv3_small_printed", None, 224, 2_946_568, 56.9),
    ("mobilenetv3_small_printed", 0.75, 224, None, 43.8),
    ("mobilenetv3_large_150d", None, 256, 14_622_320, None),
    ("mobilenetv3_small_050", None, 224, 1_593_224, None),
    ("mobilenetv3_rw", None, 224, 5_479_918, None),
    ("mobilenetv3_large_minimal", None, 224, 3_924_288, 209.1),
    ("mobilenetv3_small_minimal", None, 224, 2_044_736, 52.3),
    ("mobilenet_v3_large", 0.75, 224, None, 140.0),
    ("mobilenet_v3_small", 0.75, 224, None, 39.1),
    ("mobilenet_v2", None, 224, 3_504_872, 300.8),
    ("mobilenet_v3_large", None, 224, 5_483_032, 216.6),
    ("mobilenet_v3_small", None, 224, 2_542_856, 56.5),
    ("mobilenet_edgetpu_v2_m", None, 224, 8_462_888, 1836),
    ("mobilenet_edgetpu_v2_xs", None, 224, None, 688),
    ("mobilenet_edgetpu_v2_s", None, 224, None, 1198),
    ("mobilenet_edgetpu_v2_l", None, 224, None, 2531),
    ("mobilenetv4_conv_small_050", None, 224, 2_238_952, 64.7),
    ("mobilenetv4_conv_small_035", None, 224, 1_905_384, 47.7),
    ("mobilenetv4_conv_aa_large", None, 384, 32_590_864, 7007.6),
    ("mobilenetv4_conv_blur_medium", None, 224, 9_715_512, 1196.3),
    ("mobilenetv4_hybrid_medium_printed", None, 256, 11_170_008, None),
)


@pytest.mark.parametrize(("name", "alpha", "px", "params", "macs_m"), SOURCE_COUNTS)
def test_counts_of_other_sources(
    name: str, alpha: float | None, px: int, params: int | None, macs_m: float | None
) -> None:
    found = measured(name, alpha, px)
    assert params is None or found.params == params
    if macs_m is not None:
        digits = 1 if isinstance(macs_m, float) else 0
        assert round(found.macs / 1e6, digits) == macs_m


@pytest.mark.parametrize(
    ("name", "alpha", "params_m"),
    [
        ("mobilenet_edgetpu_v2_xs", None, 4.46),
        ("mobilenet_edgetpu_v2_s", None, 5.99),
        ("mobilenet_edgetpu_v2_l", None, 10.92),
        ("mobilenetv3_small_printed", 0.75, 2.41),
        ("mnasnet0_5", None, 2.219),
        ("mnasnet0_75", None, 3.170),
        ("mnasnet1_0", None, 4.383),
        ("mnasnet1_3", None, 6.282),
        ("mobilenet_v3_large", 0.75, 3.378),
        ("mobilenet_v3_small", 0.75, 1.654),
    ],
)
def test_rounded_params(name: str, alpha: float | None, params_m: float) -> None:
    assert (
        round(cost(resolve(name, alpha=alpha)).params / 1e6, 2 if params_m in (4.46, 5.99, 10.92, 2.41) else 3)
        == params_m
    )


# alpha: (params M, MACs M) of Large and Small with the head kept, and with the head scaled; papers.md 1.3.
V3_WIDTHS = {
    0.35: ((2.132, 39.5), (1.019, 38.4), (1.358, 12.8), (0.561, 12.0)),
    0.5: ((2.690, 69.2), (1.742, 68.3), (1.593, 21.1), (0.933, 20.4)),
    0.75: ((3.994, 154.6), (3.443, 154.0), (2.042, 43.4), (1.675, 43.0)),
    1.25: ((8.256, 355.9), None, (3.646, 91.2), None),
}


@pytest.mark.parametrize("alpha", V3_WIDTHS)
def test_v3_widths(alpha: float) -> None:
    from mobilenets.specs import WidthRule, at_alpha

    kept_large, scaled_large, kept_small, scaled_small = V3_WIDTHS[alpha]
    for name, kept, scaled in (
        ("mobilenetv3_large", kept_large, scaled_large),
        ("mobilenetv3_small", kept_small, scaled_small),
    ):
        for spec, want in (
            (resolve(name, alpha=alpha), kept),
            (at_alpha(resolve(name), alpha, WidthRule(last="scaled")), scaled),
        ):
            if want is not None:
                found = cost(spec, resolution_px=(224, 224))
                assert (round(found.params / 1e6, 3), round(found.macs / 1e6, 1)) == want


V3_RESOLUTIONS = {96: (43.1, 12.1), 128: (73.4, 19.8), 160: (112.5, 29.8), 192: (160.2, 42.1), 224: (216.6, 56.5)}


@pytest.mark.parametrize(("px", "macs_m"), [*V3_RESOLUTIONS.items(), (256, (281.7, 73.2))])
def test_v3_resolutions(px: int, macs_m: tuple[float, float]) -> None:
    found = tuple(round(measured(f"mobilenetv3_{size}", 1.0, px).macs / 1e6, 1) for size in ("large", "small"))
    assert found == macs_m


def test_edgetpu_with_background_class() -> None:
    """papers.md 1.3: 1001 classes; 0.75 with the 1280 kept."""
    for alpha, params, macs_m in ((1.0, 4_092_713, 990.7), (0.75, 2_989_441, 624.5)):
        found = measured("mobilenetv3_edgetpu", alpha, 224, classes=1001)
        assert (found.params, round(found.macs / 1e6, 1)) == (params, macs_m)


# MACs in millions by side, attention products included, and the products alone; papers.md 1.4.
V4_MACS = {
    "mobilenetv4_conv_small": ((224, 186.0), (256, 242.2), (320, 377.0)),
    "mobilenetv4_conv_medium": ((224, 827.6), (256, 1080.2), (320, 1686.5), (384, 2427.4)),
    "mobilenetv4_conv_large": ((256, 2835.3), (320, 4428.7), (384, 6376.2), (448, 8677.8)),
    "mobilenetv4_hybrid_medium": ((224, 966.3), (256, 1271.2), (320, 2021.7), (384, 2975.0), (448, 4152.8)),
    "mobilenetv4_hybrid_large": ((256, 3345.0), (384, 7711.9), (448, 10662.8)),
}
V4_ATTENTION = {
    "mobilenetv4_hybrid_medium": ((224, 24.6), (256, 41.9), (320, 102.4), (384, 212.3), (448, 393.4)),
    "mobilenetv4_hybrid_large": ((256, 67.1), (384, 339.7), (448, 629.4)),
}


@pytest.mark.parametrize(("name", "px", "macs_m"), [(n, *r) for n, rows in V4_MACS.items() for r in rows])
def test_v4_macs(name: str, px: int, macs_m: float) -> None:
    assert round(measured(name, None, px).macs / 1e6, 1) == pytest.approx(macs_m, abs=0.051)


@pytest.mark.parametrize(("name", "px", "macs_m"), [(n, *r) for n, rows in V4_ATTENTION.items() for r in rows])
def test_v4_attention_products(name: str, px: int, macs_m: float) -> None:
    products = 0
    for placed in walk(resolve(name), (px, px)):
        if hasattr(placed.step, "kv_stride"):
            h, w = placed.size_in
            kv = -(-h // placed.step.kv_stride) * -(-w // placed.step.kv_stride)
            products += 2 * h * w * kv * placed.step.heads * placed.step.key_dim
    assert round(products / 1e6, 1) == macs_m


# params, without batch norm, in 2^20, MACs at the paper's size without attention products, in 2^30; papers.md 1.4.
V4_COUNTS = {
    "mobilenetv4_conv_small": (3_774_024, 3_748_936, 3.58, 0.17),
    "mobilenetv4_conv_medium": (9_715_512, 9_647_608, 9.20, 1.01),
    "mobilenetv4_conv_large": (32_590_864, 32_441_312, 30.94, 5.94),
    "mobilenetv4_hybrid_medium": (11_074_648, 10_998_808, 10.49, 1.18),
    "mobilenetv4_hybrid_large": (37_764_624, 37_600_224, 35.86, 7.18),
    "mobilenetv4_hybrid_medium_printed": (11_170_008, None, 10.58, 1.21),
}


@pytest.mark.parametrize("name", V4_COUNTS)
def test_v4_counts(name: str) -> None:
    params, bare, mebi, gibi = V4_COUNTS[name]
    found = cost(resolve(name))
    without_norm = found.params - found.norm_params
    assert found.params == params
    assert bare is None or without_norm == bare
    assert round(without_norm / 2**20, 2) == mebi
    assert round(found.macs / 2**30, 2) == gibi


@pytest.mark.parametrize(
    ("name", "keras_total"),
    [
        ("MobileNet", 4_253_864),
        ("MobileNetV2", 3_538_984),
        ("MobileNetV3Large", 5_507_432),
        ("MobileNetV3Small", 2_554_968),
    ],
)
def test_keras_totals_count_moving_statistics(name: str, keras_total: int) -> None:
    found = cost(resolve(name))
    assert found.params + found.norm_params == keras_total


@pytest.mark.parametrize(("name", "params_m"), [("mobilenetv1", 4.25), ("mobilenetv2", 3.54)])
def test_krishnamoorthi_counts_moving_statistics(name: str, params_m: float) -> None:
    found = cost(resolve(name))
    assert round((found.params + found.norm_params) / 1e6, 2) == params_m
