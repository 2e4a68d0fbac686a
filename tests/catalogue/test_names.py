"""What each name means: canonical, timm's, torchvision's, Keras's, slim's."""

import pytest

from mobilenets.errors import SpecError, UnknownName
from mobilenets.specs import ALIASES, CATALOGUE, Norm, Separable, find, published_top1, resolve
from mobilenets.specs.published import PUBLISHED_ACCURACY


def test_every_name_is_one_network() -> None:
    assert not CATALOGUE.keys() & ALIASES.keys()
    assert {alias.network for alias in ALIASES.values()} <= CATALOGUE.keys()
    assert len(CATALOGUE) >= 20
    listed = [alias for entry in CATALOGUE.values() for alias in entry.aliases]
    assert sorted(listed) == sorted(ALIASES)


@pytest.mark.parametrize("name", [*CATALOGUE, *ALIASES])
def test_spec_bears_its_name(name: str) -> None:
    spec = find(name)
    assert spec.name == name
    assert resolve(spec.name, alpha=spec.alpha) == spec


@pytest.mark.parametrize(
    ("name", "padding", "norm", "act"),
    [
        ("mobilenetv1", "symmetric", Norm(1e-5, 0.1), "relu"),
        ("mobilenetv1_100", "symmetric", Norm(1e-5, 0.1), "relu6"),
        ("mobilenetv1_100h", "symmetric", Norm(1e-5, 0.1), "relu6"),
        ("MobileNet", "same", Norm(1e-3, 0.01), "relu6"),
        ("mobilenet_v1_0.75_192", "same", Norm(1e-3, 0.0003), "relu6"),
        ("mobilenetv3_large", "symmetric", Norm(1e-5, 0.1), "hard_swish"),
        ("mobilenet_v3_large", "symmetric", Norm(1e-3, 0.01), "hard_swish"),
        ("mobilenet_v2", "symmetric", Norm(1e-5, 0.1), "relu6"),
        ("tf_mobilenetv3_large_100", "same", Norm(1e-3, 0.1), "hard_swish"),
        ("mobilenetv3_rw", "symmetric", Norm(1e-3, 0.1), "hard_swish"),
    ],
)
def test_details_of_dialects(name: str, padding: str, norm: Norm, act: str) -> None:
    spec = find(name)
    assert (spec.padding, spec.norm, spec.stem.act) == (padding, norm, act)
    if isinstance(spec.rows[0], Separable):
        assert spec.rows[0].act == act


def test_checkpoints_of_slim_have_a_background_class() -> None:
    spec = find("mobilenet_v2_1.4_224")
    assert (spec.classes, spec.resolution_px, spec.alpha) == (1001, (224, 224), 1.4)
    assert find("mobilenet_v1_0.25_128").resolution_px == (128, 128)


@pytest.mark.parametrize(
    ("name", "stem", "last"),
    [
        ("mobilenetv3_small_050", 16, 1024),
        ("mobilenetv3_small_075", 16, 1024),
        ("mobilenetv4_conv_small_035", 32, 1280),
        ("mobilenetv4_hybrid_large_075", 24, 1280),
        ("mobilenetv2_110d", 32, 1280),
        ("mobilenetv2_120d", 32, 1280),
        ("mobilenetv3_large_150d", 24, 1280),
    ],
)
def test_timm_keeps_stem_and_head(name: str, stem: int, last: int) -> None:
    spec = find(name)
    assert (spec.stem.c_out, spec.embedding) == (stem, last)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("mobilenetv3_large_100.ra_in1k", "mobilenetv3_large_100"),
        ("timm/mobilenetv4_conv_small.e2400_r224_in1k", "mobilenetv4_conv_small"),
        ("google/mobilenet_v2_1.0_224", "mobilenet_v2_1.0_224"),
        ("mobilenetv4_hybrid_medium.ix_e550_r256_in1k", "mobilenetv4_hybrid_medium"),
    ],
)
def test_tags_and_hubs_are_understood(alias: str, name: str) -> None:
    assert find(alias) == find(name)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("mobilenetv22", "mobilenetv2"),
        ("MobileNetV3-Large", "mobilenetv3_large"),
        ("mobilenetv4_conv_smal", "mobilenetv4_conv_small"),
        ("mobilenetv3large", "mobilenetv3_large"),
        ("tf_mobilenetv3_small_minimal", "tf_mobilenetv3_small_minimal_100"),
    ],
)
def test_an_unknown_name_is_answered_with_the_closest(wrong: str, near: str) -> None:
    with pytest.raises(UnknownName, match=rf"no network called '{wrong}'; did you mean .*{near}") as caught:
        find(wrong)
    assert "\n" not in caught.value.message
    assert caught.value.hint == "see: mobilenets list"


def test_a_name_like_none() -> None:
    with pytest.raises(UnknownName, match=r"^no network called 'xyzzy'$"):
        find("xyzzy")


def test_alias_width_is_replaced_by_alpha() -> None:
    assert resolve("mobilenetv3_large_075", alpha=1.0).rows == resolve("mobilenetv3_large_100").rows
    with pytest.raises(SpecError, match="alpha must be a positive number"):
        resolve("mobilenetv2", alpha=0.0)


@pytest.mark.parametrize("name", ["mobilenetv1", "mobilenetv2", "mobilenet_v3_large", "mobilenetv3_large"])
def test_a_spec_is_its_table(name: str) -> None:
    assert resolve(find(name), alpha=0.3) == resolve(name, alpha=0.3)


def test_published_top1() -> None:
    assert published_top1("mobilenetv2", 1.0, 224) == 0.718
    assert published_top1("mobilenetv2", 1.0, (224, 224)) == 0.718
    assert published_top1("mobilenetv2", 1.0, (224, 192)) is None
    assert published_top1("mobilenetv4_conv_medium", 1.0, 256) == 0.799
    assert published_top1("mobilenetv2", 0.9, 224) is None
    assert len({(p.network, p.alpha, p.side_px) for p in PUBLISHED_ACCURACY}) == len(PUBLISHED_ACCURACY)
    assert {p.network for p in PUBLISHED_ACCURACY} <= CATALOGUE.keys()
    assert all(0.4 < p.top1 < 0.9 and (p.top5 is None or p.top5 > p.top1) for p in PUBLISHED_ACCURACY)


def test_larger_is_better_within_a_generation() -> None:
    """A guard against typing errors: more width or more pixels never lowers V1's and V2's published accuracy."""
    for network in ("mobilenetv1", "mobilenetv2"):
        points = [p for p in PUBLISHED_ACCURACY if p.network == network]
        for a in points:
            for b in points:
                if a.alpha >= b.alpha and a.side_px >= b.side_px:
                    assert a.top1 >= b.top1
