"""Augmentation: what each part does to pixels, against torchvision, and that every place decides for itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision.transforms.v2 as v2
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from mobilenets.records import Preprocess
from mobilenets.train import Augmentation
from mobilenets.train.augment import CROP, FLIP, JITTER, augmented, columns, crop_box, erase, mix_pairs, to_network
from mobilenets.train.rand_augment import OPERATIONS, rand_augment

STILL = Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=False)


def pictures(count: int, size: tuple[int, int] = (32, 32), seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (count, 4, 4, 3), np.uint8)
    return [np.kron(image, np.ones((size[0] // 4, size[1] // 4, 1), np.uint8)) for image in small]


def numbers(count: int, how: Augmentation, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, columns(how)))


def test_nothing_asked_leaves_the_pixels() -> None:
    images = pictures(2)
    got = augmented(images, numbers(2, STILL), how=STILL, size_px=(32, 32))
    assert got.dtype == torch.float32
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(got.permute(0, 2, 3, 1).numpy(), np.stack(images))


def test_flip_mirrors_those_that_drew_it() -> None:
    how = replace(STILL, flip=True)
    drawn = numbers(2, how)
    drawn[:, FLIP] = [0.2, 0.7]
    images = pictures(2)
    got = augmented(images, drawn, how=how, size_px=(32, 32)).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(got[0], images[0][:, ::-1])
    assert np.array_equal(got[1], images[1])


def test_crop_is_the_drawn_part_resized() -> None:
    how = replace(STILL, scale=(0.25, 0.25))
    drawn = numbers(1, how)
    drawn[0, CROP] = [0.0, 0.5, 0.999, 0.0]
    image = pictures(1)[0]
    got = augmented([image], drawn, how=how, size_px=(16, 16)).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(got[0], image[16:, :16])


@given(
    size=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    drawn=st.tuples(*[st.floats(0, 0.999999)] * 4),
    low=st.floats(0.05, 1.0),
)
def test_crops_lie_within_the_picture(size: tuple[int, int], drawn: tuple[float, ...], low: float) -> None:
    how = Augmentation(scale=(low, 1.0))
    top, left, height, width = crop_box(size, np.array(drawn), how=how)
    assert height >= 1
    assert width >= 1
    assert top >= 0
    assert left >= 0
    assert top + height <= size[0]
    assert left + width <= size[1]


def test_crop_areas_and_aspects_are_spread_as_asked() -> None:
    how = Augmentation(scale=(0.3, 0.8))
    drawn = np.random.default_rng(0).random((2000, 4))
    boxes = np.array([crop_box((200, 200), row, how=how)[2:] for row in drawn])
    areas, aspects = boxes.prod(1) / 200**2, boxes[:, 1] / boxes[:, 0]
    assert abs(areas.mean() - 0.55) < 0.02
    assert areas.min() > 0.28
    assert areas.max() < 0.82
    assert abs(np.log(aspects).mean()) < 0.02
    assert aspects.min() > 0.7
    assert aspects.max() < 1.4


def test_jitter_is_torchvisions_brightness_contrast_saturation() -> None:
    how = replace(STILL, brightness=0.3, contrast=0.4, saturation=0.5)
    drawn = numbers(3, how)
    images = [(image // 2 + 60) for image in pictures(3)]  # far from 0 and 255: no clamping in between
    got = augmented(images, drawn, how=how, size_px=(32, 32))
    for image, row, mine in zip(images, drawn, got, strict=True):
        bright, contrast, colour = 1 + np.array([0.3, 0.4, 0.5]) * (2 * row[JITTER] - 1)
        wanted = torch.from_numpy(image).permute(2, 0, 1).float() / 255
        wanted = reference.adjust_brightness(wanted, bright)
        wanted = reference.adjust_contrast(wanted, contrast)
        wanted = reference.adjust_saturation(wanted, colour)
        assert (mine / 255 - wanted).abs().max() < 2e-3  # torchvision's grey has 0.2989, 0.587, 0.114


def test_rotation_and_shift_move_the_picture() -> None:
    how = replace(STILL, rotate_deg=90.0, shift=0.25)
    image = np.zeros((32, 32, 3), np.uint8)
    image[:16] = 200
    drawn = numbers(1, how)
    drawn[0, 5:8] = [0.999999, 0.5, 0.5]  # + 90 degrees, no shift
    turned = augmented([image], drawn, how=how, size_px=(32, 32))[0, 0]
    assert (turned[2:-2, 4] - turned[2:-2, -5]).abs().min() > 150  # top and bottom became left and right
    drawn[0, 5:8] = [0.5, 0.5, 0.999999]  # a quarter up
    moved = augmented([image], drawn, how=how, size_px=(32, 32))[0, 0]
    assert moved[:7, 16].min() > 190
    assert moved[9:20, 16].max() < 10


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("magnitude", [4, 9, 15])
def test_rand_augment_operations_are_torchvisions(name: str, magnitude: int) -> None:
    batch = torch.from_numpy(np.stack(pictures(2, (48, 40)))).permute(0, 3, 1, 2)
    how = replace(STILL, rand_layers=1, rand_magnitude=magnitude)
    make, signed = v2.RandAugment._AUGMENTATION_SPACE[name]
    strengths = make(31, 48, 40)
    strength = 0.0 if strengths is None else float(strengths[magnitude])
    place = (list(OPERATIONS).index(name) + 0.5) / len(OPERATIONS)
    for sign, draw in ((-1, 0.1), (1, 0.9)):
        mine = batch.clone()
        rand_augment(mine, np.array([[0.0, place, draw], [1.0, place, draw]]), how=replace(how, rand_probability=0.5))
        wanted = v2.RandAugment()._apply_image_or_video_transform(
            batch[:1], name, strength * (sign if signed else 1), interpolation=InterpolationMode.NEAREST, fill={}
        )
        assert torch.equal(mine[:1], wanted)
        assert torch.equal(mine[1:], batch[1:])


def test_every_place_decides_for_itself() -> None:
    how = Augmentation(rand_layers=2, brightness=0.3, rotate_deg=5, shift=0.1)
    images, drawn = pictures(6, (40, 48)), numbers(6, how)
    whole = augmented(images, drawn, how=how, size_px=(32, 32))
    parts = [augmented(images[i : i + 2], drawn[i : i + 2], how=how, size_px=(32, 32)) for i in (0, 2, 4)]
    assert torch.equal(whole, torch.cat(parts))
    drawn[0] = 1 - drawn[0]
    assert not torch.equal(whole[0], augmented(images, drawn, how=how, size_px=(32, 32))[0])


def test_erased_rectangles_have_the_mean_colour() -> None:
    batch = torch.ones(400, 3, 32, 32)
    drawn = np.random.default_rng(0).random((400, 5))
    erase(batch, drawn, how=replace(STILL, erase=0.25))
    share = (batch[:, 0] == 0).float().mean((1, 2))
    assert 0.2 < (share > 0).float().mean() < 0.3
    assert share[share > 0].min() > 0.01
    assert share.max() < 0.36


@pytest.mark.parametrize("colour", ["rgb", "bgr", "grey"])
def test_network_input_is_what_preprocess_gives(colour: str) -> None:
    from mobilenets.data import normalise

    grey = colour == "grey"
    record = Preprocess(
        size_px=(32, 32),
        colour=colour,
        mean=(0.4,) if grey else (0.5, 0.4, 0.3),
        std=(0.2,) if grey else (0.1, 0.2, 0.3),
    )
    image = pictures(1)[0]
    got = to_network(torch.from_numpy(image).permute(2, 0, 1)[None].float(), record)[0]
    tolerance = 0.011 if grey else 1e-5  # a grey of whole numbers is up to half of 1 / 255 / 0.2 away
    assert np.abs(got.numpy() - normalise(image, record)).max() < tolerance


def test_mixed_pairs_keep_to_themselves() -> None:
    how = replace(STILL, mixup_alpha=0.5, cutmix_alpha=1.0)
    batch = torch.rand(8, 3, 16, 16)
    targets = torch.tensor([0, 1, 2, 2, 1, 0, 2, 1])
    drawn = np.random.default_rng(3).random((4, 5))
    drawn[:, 1] = [0.1, 0.9, 0.1, 0.9]  # cutmix, mixup, cutmix, mixup
    drawn[:, 2] = [0.3, 0.7, 0.9, 0.2]
    mixed, shares = mix_pairs(batch.clone(), targets, drawn, how=how, classes=3)
    assert torch.allclose(shares.sum(1), torch.ones(8))
    assert torch.allclose(mixed[2], 0.7 * batch[2] + 0.3 * batch[3], atol=1e-6)  # mixup, of equal classes
    assert torch.equal(shares[2], torch.tensor([0.0, 0.0, 1.0]))
    cut = (mixed[0] == batch[1]).all(0).float().mean()  # cutmix: a box of the neighbour
    assert cut == pytest.approx(float(shares[0, 1]), abs=1e-6)
    assert 0.5 < cut < 0.8
    assert torch.allclose(mixed[0] + mixed[1], batch[0] + batch[1])
    halves = [mix_pairs(batch[p].clone(), targets[p], drawn[q], how=how, classes=3) for p, q in
              ((slice(0, 4), slice(0, 2)), (slice(4, 8), slice(2, 4)))]  # fmt: skip
    assert torch.equal(mixed, torch.cat([images for images, _ in halves]))
    assert torch.equal(shares, torch.cat([part for _, part in halves]))
