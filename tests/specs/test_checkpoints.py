"""The table of published weights: every row is a network of ours with that many parameters, and says what others say.

A broken twin of each rule: a row with another width, another mean, another accuracy is caught.
"""

from dataclasses import replace

import pytest

from mobilenets.errors import UnknownName, UsageError
from mobilenets.measure import cost
from mobilenets.specs import Checkpoint, find_weights, published_weights, resolve
from mobilenets.specs.checkpoints import FILE, NORMS
from mobilenets.specs.published import PUBLISHED_ACCURACY

ROWS = published_weights()
UNCOUNTED = {"google/deeplabv3_mobilenet_v2_1.0_513"}


def wrong(row: Checkpoint) -> str:
    """What is wrong with a row, by what our own network of that name is."""
    spec = resolve(row.network, alpha=row.alpha, classes=row.classes, resolution_px=row.resolution_px)
    if abs(spec.alpha - row.alpha) > 1e-9:
        return "alpha"
    if "whole network counted" in row.note or row.id in UNCOUNTED:
        return "" if row.quoted is None else "an accuracy of another task"
    return "" if cost(spec).params == row.params else f"params {row.params}, counted {cost(spec).params}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_each_row_is_a_network_of_ours_with_its_parameters(row: Checkpoint) -> None:
    assert wrong(row) == ""
    assert resolve(row.network).alpha == row.alpha or row.source in ("keras", "slim"), "the name says the width"


def test_another_width_is_seen() -> None:
    row = find_weights("timm/mobilenetv3_small_100.lamb_in1k")
    assert "counted 2542856" in wrong(replace(row, params=2_542_857))
    assert "params" in wrong(replace(row, alpha=0.75))


def test_the_table_is_whole_and_small() -> None:
    assert len(ROWS) == 157
    assert len({row.id for row in ROWS}) == len(ROWS)
    assert [sum(row.source == source for row in ROWS) for source in
            ("timm", "torchvision", "keras", "slim", "huggingface", "opencv")] == [48, 16, 16, 66, 7, 4]  # fmt: skip
    assert FILE.stat().st_size < 60_000


def test_accuracies_are_shares_with_their_place() -> None:
    for row in ROWS:
        for quoted in filter(None, (row.quoted, row.larger)):
            assert 0.35 < quoted.top1 < 0.87, row.id
            assert quoted.top5 is None or quoted.top1 < quoted.top5 < 0.98, row.id
            assert quoted.where, row.id
        if row.larger is not None:
            assert row.quoted is not None
            assert row.larger.top1 > row.quoted.top1, row.id
            assert row.larger.resolution_px > row.quoted.resolution_px, row.id


def test_what_is_not_told_is_none() -> None:
    slim = find_weights("slim/v3-large_224_1.0_uint8")
    assert (slim.size_mb, slim.quoted and slim.quoted.top5) == (None, None)
    keras = find_weights("mobilenet_1_0_224_tf")
    assert (keras.licence, keras.interpolation, keras.preprocess) == (None, None, None)
    assert find_weights("timm/mobilenetv4_conv_medium.e180_r384_in12k").quoted is None


def test_slims_accuracies_are_those_of_published() -> None:
    row = find_weights("google/mobilenet_v2_0.35_96")
    point = next(p for p in PUBLISHED_ACCURACY if (p.network, p.alpha, p.side_px) == ("mobilenetv2", 0.35, 96))
    assert row.quoted is not None
    assert (row.quoted.top1, row.quoted.top5, row.quoted.where) == (point.top1, point.top5, point.source)


def test_preprocessing_becomes_a_record() -> None:
    fed = find_weights("torchvision/MobileNet_V2_Weights.IMAGENET1K_V2").preprocess
    assert fed is not None
    assert int(fed.size_px[0] / fed.crop_ratio) == 232
    assert (fed.fit, fed.antialias, fed.mean) == ("short_then_crop", True, NORMS["imagenet"][0])
    slim = find_weights("slim/mobilenet_v1_0.25_128").preprocess
    assert slim is not None
    assert (slim.fit, slim.size_px, slim.antialias, slim.std) == ("central_then_stretch", (128, 128), False, (0.5,) * 3)


def test_filters() -> None:
    assert [row.id for row in published_weights("SMALL lamb", source="timm", max_mb=7)] == [
        "timm/mobilenetv3_small_050.lamb_in1k"
    ]
    assert {row.generation for row in published_weights(generation="v4")} == {"v4"}
    assert {row.alpha for row in published_weights(alpha=0.35)} == {0.35}
    assert {row.resolution_px for row in published_weights(resolution_px=(96, 96))} == {(96, 96)}
    small = published_weights(max_params=500_000)
    assert {row.alpha for row in small} == {0.25}
    assert published_weights("no such word") == ()


def test_names() -> None:
    assert find_weights("mobilenetv2_100.ra_in1k").id == "timm/mobilenetv2_100.ra_in1k"
    with pytest.raises(UsageError, match=r"several; say which: slim/mobilenet_v1_1.0_224, google/mobilenet_v1_1.0_224"):
        find_weights("mobilenet_v1_1.0_224")
    with pytest.raises(UnknownName, match=r"did you mean timm/mobilenetv3_small_100.lamb_in1k") as caught:
        find_weights("timm/mobilenetv3_small_100.lamb_in1")
    assert caught.value.hint == "see: mobilenets weights list"


@pytest.mark.peer
def test_timm_says_the_same() -> None:
    import timm
    from timm.models import get_pretrained_cfg

    names = [n for n in timm.list_pretrained() if "mobilenet" in n and not n.startswith("mobilenetv5")]
    ours = {row.id.removeprefix("timm/"): row for row in published_weights(source="timm")}
    assert set(names) <= set(ours)
    for name in names:
        cfg, row = get_pretrained_cfg(name), ours[name]
        assert cfg.hf_hub_id == row.id
        assert row.resolution_px == cfg.input_size[1:]
        assert (row.classes, row.crop_ratio, row.interpolation) == (cfg.num_classes, cfg.crop_pct, cfg.interpolation)
        assert (row.mean, row.std) == (tuple(cfg.mean), tuple(cfg.std))
        assert row.licence is not None
        assert row.licence.lower() == cfg.license
        if row.larger is not None:
            assert row.larger.resolution_px == cfg.test_input_size[1:]
            assert row.larger.crop_ratio == cfg.test_crop_pct


@pytest.mark.peer
def test_torchvision_says_the_same() -> None:
    from torchvision import models

    told = {str(w): w for n in models.list_models() if "mobilenet" in n or "mnasnet" in n
            for w in models.get_model_weights(n)}  # fmt: skip
    rows = {row.id.removeprefix("torchvision/"): row for row in published_weights(source="torchvision")}
    assert told.keys() == rows.keys()
    for name, weights in told.items():
        row, figures = rows[name], weights.meta["_metrics"].get("ImageNet-1K")
        assert weights.meta["num_params"] == row.params
        assert (figures is None) == (row.quoted is None)
        if figures is not None and row.quoted is not None and row.preprocess is not None:
            assert (row.quoted.top1, row.quoted.top5) == (
                pytest.approx(figures["acc@1"] / 100), pytest.approx(figures["acc@5"] / 100))  # fmt: skip
            transforms = weights.transforms()
            assert transforms.crop_size == [row.preprocess.size_px[0]]
            assert transforms.resize_size == [int(row.preprocess.size_px[0] / row.preprocess.crop_ratio)]
            assert (tuple(transforms.mean), tuple(transforms.std)) == (row.mean, row.std)
