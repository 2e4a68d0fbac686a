"""Specs: checks, JSON, files, variations."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from specs.drawn import specs

from mobilenets.errors import MobilenetsError, SpecError, UnknownName, UsageError
from mobilenets.specs import (
    MQA,
    UIB,
    Bottleneck,
    Conv,
    Depthwise,
    HardSwish,
    Head,
    Norm,
    Pool,
    PRelu,
    Separable,
    Spec,
    at_alpha,
    dilate,
    folded,
    make_divisible,
    reduced_tail,
    resolve,
    spec_from_json,
    spec_to_json,
    with_classes,
    with_drop_path,
    with_dropout,
    with_stem_stride,
)

OWN = Spec(
    "own",
    Conv(3, 8, 2, act=HardSwish(0.2), norm="batch_bias"),
    (
        Separable(3, 16, (2, 1), act=PRelu()),
        Pool("max", 2, 2),
        Bottleneck(5, 32, 16, norm="bias"),
        UIB(3, 3, 32, 16, scale=1e-5),
        MQA(2, 8, 2),
        Depthwise(3, 2),
        Conv(1, 64),
    ),
    Head(32, "hard_swish", norm="batch", dropout=0.1),
    classes=4,
    in_channels=1,
    resolution_px=(64, 96),
    padding="same",
    norm=Norm(1e-3, 0.01),
    drop_path=0.1,
)


def test_json_is_readable_and_exact() -> None:
    text = spec_to_json(OWN)
    assert spec_from_json(text) == OWN
    data = json.loads(text)
    assert data["rows"][0] == {
        "type": "Separable", "kernel": 3, "c_out": 16, "stride": [2, 1], "act": {"type": "PRelu", "shared": False},
        "dilation": 1, "norm": "batch", "downsample": "stride",
    }  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(spec=specs())
def test_any_spec_round_trips(spec: Spec) -> None:
    assert spec_from_json(spec_to_json(spec)) == spec


def test_defaults_may_be_left_out() -> None:
    text = '{"name": "n", "stem": {"kernel": 3, "c_out": 8}, "rows": [{"type": "Conv", "kernel": 1, "c_out": 4}]}'
    assert spec_from_json(text) == Spec("n", Conv(3, 8), (Conv(1, 4),))


def mutations(value: Any) -> st.SearchStrategy[Any]:
    """Something else in the place of `value`."""
    return st.sampled_from(
        [None, -1, 0, 2**70, 1.5, float("nan"), "", "x" * 300, "relu\n", [], [1], [3, 3, 3], {}, {"type": "Conv"}, True]
    )


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(p for key, item in inner for p in places(item, (*path, key)))]


PLACES = [path for path in places(json.loads(spec_to_json(OWN))) if path]


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(PLACES), value=mutations(None), drop=st.booleans())
def test_fuzzed_json_is_a_spec_or_one_line(path: tuple[Any, ...], value: Any, drop: bool) -> None:
    data = json.loads(spec_to_json(OWN))
    place = data
    for key in path[:-1]:
        place = place[key]
    if drop and isinstance(place, dict):
        del place[path[-1]]
    else:
        place[path[-1]] = value
    message = ""
    try:
        spec_from_json(json.dumps(data), where="own.json")
    except MobilenetsError as error:
        message = error.message
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": ()}, "own: needs at least one row"),
        ({"name": ""}, "spec: name must be"),
        ({"name": "a\nb"}, "spec: name must be"),
        ({"classes": -1}, "own: classes must be a whole number"),
        ({"in_channels": 0}, "own: in_channels must be a whole number"),
        ({"resolution_px": (0, 4)}, "own: resolution_px must be a whole number"),
        ({"padding": "full"}, "own: padding must be"),
        ({"drop_path": 1.0}, "own: drop_path must be in [0, 1)"),
        ({"alpha": float("nan")}, "own: alpha must be a positive number"),
        ({"rows": (Conv(3, 9, groups=4),)}, "own: blocks.0: 4 groups do not divide 8 -> 9 channels"),
        ({"rows": (Depthwise(9, pad=False),), "resolution_px": (16, 16)}, "own: blocks.0: an image of 16x16 px leaves"),
        ({"rows": (Depthwise(1, 1000),) * 4}, "own: blocks.1: 8000000 channels are more than"),
    ],
)
def test_networks_that_cannot_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        replace(OWN, **change)
    assert caught.value.message.startswith(message)


def test_a_file_works_wherever_a_name_does(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(spec_to_json(OWN), encoding="utf-8")
    assert resolve(path) == resolve(str(path)) == resolve(OWN) == OWN
    assert resolve(str(path), classes=9, resolution_px=(32, 32)).classes == 9
    half = resolve(path, alpha=0.5)
    assert half.alpha == 0.5
    assert [row.outputs(8) for row in half.rows[:3]] == [8, 8, 8]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not a text file"),
        (b"[]", "must be an object"),
        (b'{"name": 3}', "name: must be"),
    ],
)
def test_files_that_hold_no_spec(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        resolve(path)
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read: No such file"):
        resolve(tmp_path / "none.json")
    with pytest.raises(UsageError, match="can't be read"):
        resolve(tmp_path)
    with pytest.raises(UnknownName):
        resolve("none")


def test_variations() -> None:
    assert with_classes(OWN, 0).embedding == 32
    assert with_stem_stride(OWN, 1).stem.stride == 1
    assert with_dropout(OWN, 0.5).head.dropout == 0.5
    assert with_drop_path(OWN, 0.3).drop_path == 0.3
    with pytest.raises(SpecError, match=r"head: dropout must be in \[0, 1\)"):
        with_dropout(OWN, 1.0)
    with pytest.raises(SpecError, match="classes must be a whole number"):
        with_classes(OWN, -2)


def test_folded_has_no_norm_but_in_front_of_attention() -> None:
    spec = folded(resolve("mobilenetv4_hybrid_medium"))
    assert {row.norm for row in spec.rows} == {"bias"}  # type: ignore[union-attr]  # no pooling in it
    assert spec.head.norm == "bias"
    assert folded(spec) == spec


def test_dilation_next_and_at_once() -> None:
    """TensorFlow and timm dilate from the row after the lost stride, torchvision from that row on."""
    base = resolve("mobilenetv3_large")

    def dilations(spec: Spec) -> list[int]:
        return [row.dilation for row in spec.rows if isinstance(row, Bottleneck)]

    assert dilations(dilate(base, 16)) == [1] * 13 + [2, 2]
    assert dilations(dilate(base, 16, when="at_once")) == [1] * 12 + [2, 2, 2]
    assert dilations(dilate(base, 8)) == [1] * 7 + [2] * 6 + [4, 4]
    assert dilate(base, 32) == base
    with pytest.raises(SpecError, match="output_stride must be 8, 16 or 32, not 4"):
        dilate(base, 4)
    with pytest.raises(SpecError, match="is a pooling"):
        dilate(replace(OWN, rows=(*OWN.rows, Pool("max", 2, 2), Pool("max", 2, 2))), 8)


def test_reduced_tail_needs_a_tail() -> None:
    with pytest.raises(SpecError, match="no row has a stride"):
        reduced_tail(Spec("flat", Conv(3, 8, 2), (Conv(3, 8),)))
    with pytest.raises(SpecError, match=r"blocks\.1 is a MQA, which has no reduced form"):
        reduced_tail(Spec("hybrid", Conv(3, 8, 2), (Bottleneck(3, 16, 16, 2), MQA(1, 8))))


@given(value=st.floats(0.01, 1e6))
def test_make_divisible(value: float) -> None:
    rounded = make_divisible(value)
    assert rounded % 8 == 0
    assert rounded >= 8
    assert rounded >= 0.9 * value
    assert rounded == 8 or abs(rounded - value) <= 8
    assert make_divisible(float(rounded)) == rounded


@settings(max_examples=60, deadline=None)
@given(spec=specs(), alpha=st.floats(0.2, 3.0))
def test_any_table_has_every_width(spec: Spec, alpha: float) -> None:
    scaled = at_alpha(spec, alpha)
    assert [type(row) for row in scaled.rows] == [type(row) for row in spec.rows]
    assert at_alpha(spec, 1.0) == spec


def test_taps_of_stride_pairs() -> None:
    spec = Spec("ocr", Conv(3, 8, 2), (Bottleneck(3, 16, 16, (2, 1)),), resolution_px=(32, 100))
    tap = spec.tap("blocks.0")
    assert (tap.stride, tap.stride_w, tap.channels) == (4, 2, 16)
    with pytest.raises(SpecError, match=r"no tap called 'blocks\.9'"):
        spec.tap("blocks.9")
