"""Recipes as values: the table, the papers' figures in it, JSON, and what can't be."""

from dataclasses import replace

import pytest

from mobilenets.codec import from_json, to_json
from mobilenets.errors import UnknownName, UsageError
from mobilenets.specs import find
from mobilenets.train import (
    RECIPES,
    SGD,
    AdamW,
    Augmentation,
    Cosine,
    Exponential,
    Muon,
    Recipe,
    RMSprop,
    find_recipe,
    recipe_code,
    recipe_spec,
)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda r: r.name)
def test_recipe_is_the_same_after_json_and_as_code(recipe: Recipe) -> None:
    assert from_json(Recipe, to_json(recipe)) == recipe
    names = {cls.__name__: cls for cls in (Recipe, AdamW, Muon, SGD, RMSprop, Cosine, Exponential, Augmentation)}
    assert eval(recipe_code(recipe), names) == recipe
    assert hash(recipe) == hash(replace(recipe))


# MobileNetV4, arXiv:2404.10518, Table 10: batch, peak lr, epochs, warm-up, weight decay, beta1, dropout, drop path,
# RandAugment probability and magnitude.
V4_TABLE_10 = {
    "v4_conv_small": (4096, 0.002, 9600, 5, 0.01, 0.6, 0.3, 0.0, 0.5, 9),
    "v4_conv_medium": (4096, 0.004, 500, 5, 0.1, 0.9, 0.2, 0.075, 0.7, 15),
    "v4_hybrid_medium": (16384, 0.016, 500, 20, 0.1, 0.9, 0.2, 0.075, 0.7, 15),
    "v4_conv_large": (16384, 0.004, 500, 20, 0.2, 0.9, 0.2, 0.35, 1.0, 15),
    "v4_hybrid_large": (16384, 0.01, 500, 20, 0.2, 0.9, 0.2, 0.35, 1.0, 15),
}


@pytest.mark.parametrize("name", V4_TABLE_10)
def test_v4_recipes_say_table_10(name: str) -> None:
    r = find_recipe(name)
    assert isinstance(r.optimizer, AdamW)
    found = (r.batch, r.lr, r.epochs, r.warmup_epochs, r.weight_decay, r.optimizer.beta1, r.dropout, r.drop_path)
    assert (*found, r.augmentation.rand_probability, r.augmentation.rand_magnitude) == V4_TABLE_10[name]
    assert (r.augmentation.rand_layers, r.label_smoothing, r.clip_norm) == (2, 0.1, None)


def test_unknown_recipe_names_the_closest() -> None:
    with pytest.raises(UnknownName, match="v2_paper"):
        find_recipe("v2_papers")


@pytest.mark.parametrize(
    "change",
    [
        {"batch": 0},
        {"lr": 0.0},
        {"batch": 9, "micro_batches": 2},
        {"ema": 1.0},
        {"label_smoothing": -0.1},
        {"clip_norm": 0.0},
        {"side_ratios": ()},
        {"patience": 0},
    ],
)
def test_impossible_recipe_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="recipe"):
        replace(find_recipe("photos"), **change)


@pytest.mark.parametrize(
    "change",
    [{"scale": (0.0, 1.0)}, {"scale": (1.0, 0.5)}, {"rand_magnitude": 31}, {"erase": 1.5}, {"mixup_alpha": -1}],
)
def test_impossible_augmentation_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="augmentation"):
        Augmentation(**change)


def test_recipe_spec_sets_dropout_and_drop_path_only_where_asked() -> None:
    spec = find("mobilenetv4_conv_medium")
    changed = recipe_spec(spec, find_recipe("v4_conv_medium"))
    assert (changed.head.dropout, changed.drop_path) == (0.2, 0.075)
    assert recipe_spec(spec, find_recipe("small_images")) == spec
