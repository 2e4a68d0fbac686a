"""The Preprocess record applied: geometry against Pillow and exact cases, numbers against torchvision's order."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import scene
from PIL import Image

from mobilenets.data import fit_picture, normalise, preprocess, preprocess_batch
from mobilenets.data.preprocessing import resize_kept
from mobilenets.errors import BadData
from mobilenets.records import Preprocess

RECORD = Preprocess((32, 32))
FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}
sides = st.integers(1, 300)


def resize(pixels: np.ndarray, size_px: tuple[int, int], interpolation: str = "bilinear") -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize(size_px[::-1], FILTERS[interpolation]))


def columns_first(pixels: np.ndarray, size_px: tuple[int, int], interpolation: str = "bilinear") -> np.ndarray:
    return resize(resize(pixels, (len(pixels), size_px[1]), interpolation), size_px, interpolation)


@settings(max_examples=60, deadline=None)
@given(
    sides,
    sides,
    st.integers(1, 64),
    st.integers(1, 64),
    st.sampled_from([0.5, 0.875, 224 / 232, 1.0]),
    st.sampled_from(sorted(FILTERS)),
)
def test_short_then_crop_is_resize_then_centre_crop(
    height: int, width: int, h: int, w: int, ratio: float, interpolation: str
) -> None:
    pixels = scene(height, width)
    record = Preprocess((h, w), crop_ratio=ratio, interpolation=interpolation)
    cover_h, cover_w = int(h / ratio + 1e-6), int(w / ratio + 1e-6)
    scale = max(cover_h / height, cover_w / width)
    full_h = cover_h if scale == cover_h / height else int(height * scale + 1e-9)
    full_w = cover_w if scale == cover_w / width else int(width * scale + 1e-9)
    fitted = fit_picture(pixels, record)
    assert fitted.shape == (h, w, 3)
    if full_h * full_w > 16 * h * w:
        return
    top, left = round((full_h - h) / 2), round((full_w - w) / 2)
    whole = columns_first(pixels, (full_h, full_w), interpolation)
    assert np.array_equal(fitted, whole[top : top + h, left : left + w])


@pytest.mark.peer
def test_equals_torchvision() -> None:
    from torchvision import transforms

    for height, width, side, short in ((300, 400, 224, 256), (500, 333, 224, 232), (97, 61, 32, 36)):
        pixels = scene(height, width)
        record = Preprocess((side, side), crop_ratio=side / short)
        theirs = transforms.Compose(
            [
                transforms.Resize(short),
                transforms.CenterCrop(side),
                transforms.ToTensor(),
                transforms.Normalize(record.mean, record.std),
            ]
        )(Image.fromarray(pixels)).numpy()
        assert np.array_equal(preprocess(pixels, record), theirs)
        assert not np.array_equal(preprocess(pixels, replace(record, antialias=False)), theirs)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_what_is_kept_alone_is_within_two_levels(interpolation: str) -> None:
    off = []
    for height, width in ((300, 400), (500, 333), (97, 61), (61, 400), (400, 61), (30, 30)):
        noise = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
        record = Preprocess((56, 40), crop_ratio=0.8, interpolation=interpolation)
        apart = np.abs(fit_picture(noise, record).astype(int) - fit_picture(noise, record, resize=resize_kept))
        assert apart.max() <= 2
        off.append((apart > 0).mean())
    assert np.mean(off) < 0.01


def test_a_giant_resized_picture_is_never_made() -> None:
    for shape in ((1, 50_000), (50_000, 1), (2, 30_000)):
        pixels = np.zeros((*shape, 3), np.uint8)
        middle = (shape[0] // 2, shape[1] // 2)
        pixels[middle[0] :, middle[1] :] = 255
        fitted = fit_picture(pixels, Preprocess((64, 64)))
        assert fitted.shape == (64, 64, 3)
    # Where both ways can be taken they agree to a few levels.
    pixels = scene(20, 900)
    record = Preprocess((40, 40), crop_ratio=1.0)
    whole = resize(pixels, (40, 1800))
    assert np.abs(fit_picture(pixels, record).astype(int) - whole[:, 880:920]).max() <= 1


def test_central_then_stretch_is_slims_evaluation() -> None:
    pixels = scene(101, 67)
    record = Preprocess((32, 48), fit="central_then_stretch", crop_ratio=0.875)
    h, w, top, left = 88, 59, 6, 4  # 88.375 and 58.625 rounded, and half of what is left over
    inner = pixels[top : top + h, left : left + w]
    assert np.array_equal(fit_picture(pixels, record), columns_first(inner, (32, 48)))


def test_stretch_takes_the_whole_picture_whatever_the_ratio() -> None:
    pixels = scene(101, 67)
    assert np.array_equal(fit_picture(pixels, Preprocess((32, 48), fit="stretch")), columns_first(pixels, (32, 48)))


def test_the_three_fits_differ() -> None:
    pixels = scene(101, 67)
    done = [
        fit_picture(pixels, replace(RECORD, fit=fit)) for fit in ("short_then_crop", "central_then_stretch", "stretch")
    ]
    assert not any(np.array_equal(done[i], done[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_sampling_without_antialias_by_hand() -> None:
    row = np.array([0, 100, 200, 40], np.uint8)
    pixels = np.repeat(np.repeat(row[None, :, None], 2, 0), 3, 2)
    record = Preprocess((2, 2), fit="stretch", antialias=False)
    assert fit_picture(pixels, record)[0, :, 0].tolist() == [50, 120]
    up = fit_picture(pixels, replace(record, size_px=(2, 8)))[0, :, 0]
    assert up.tolist() == [0, 25, 75, 125, 175, 160, 80, 40]
    cubic = fit_picture(pixels, replace(record, interpolation="bicubic"))[0, :, 0]
    assert cubic.tolist() == [44, 126]  # -1/16, 9/16, 9/16, -1/16 of the four neighbours, edges repeated


@pytest.mark.peer
def test_sampling_without_antialias_equals_torch() -> None:
    import torch

    pixels = scene(300, 400)
    planes = torch.tensor(pixels).permute(2, 0, 1)[None].double()
    theirs = torch.nn.functional.interpolate(planes, size=(100, 150), mode="bilinear", align_corners=False)
    ours = fit_picture(pixels, Preprocess((100, 150), fit="stretch", antialias=False))
    assert np.abs(ours - theirs[0].permute(1, 2, 0).numpy()).max() <= 0.5 + 1e-4


def test_antialias_makes_a_difference_where_it_should() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    smooth = fit_picture(pixels, Preprocess((32, 32), fit="stretch"))
    plain = fit_picture(pixels, Preprocess((32, 32), fit="stretch", antialias=False))
    assert smooth.std() < plain.std() / 2


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_sampling_a_picture_at_its_own_size_changes_nothing(seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    for interpolation in ("nearest", "bilinear", "bicubic"):
        for antialias in (True, False):
            record = Preprocess((9, 13), fit="stretch", interpolation=interpolation, antialias=antialias)
            assert np.array_equal(fit_picture(pixels, record), pixels)


def test_numbers_are_computed_in_torchvisions_order() -> None:
    pixels = scene(32, 32)
    record = replace(RECORD, fit="stretch")
    mean, std = np.array(record.mean, np.float32), np.array(record.std, np.float32)
    expected = ((pixels.astype(np.float32) / np.float32(255) - mean) / std).transpose(2, 0, 1)
    found = preprocess(pixels, record)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
    assert not np.array_equal(preprocess(pixels, replace(record, mean=(0.485, 0.456, 0.407))), expected)


def test_colour_order_and_grey() -> None:
    pixels = scene(32, 32)
    plain = Preprocess((32, 32), fit="stretch", mean=(0.0,) * 3, std=(1.0,) * 3)
    rgb, bgr = preprocess(pixels, plain), preprocess(pixels, replace(plain, colour="bgr"))
    assert np.array_equal(rgb[::-1], bgr)
    assert not np.array_equal(rgb, bgr)
    grey = replace(plain, colour="grey", mean=(0.0,), std=(1.0,), dtype="uint8")
    assert np.array_equal(preprocess(pixels, grey)[0], np.asarray(Image.fromarray(pixels).convert("L")))


def test_mean_and_std_follow_the_colour_order() -> None:
    pixels = scene(32, 32)
    record = Preprocess((32, 32), fit="stretch", colour="bgr", mean=(0.1, 0.2, 0.3))
    blue = preprocess(pixels, record)[0]
    assert np.allclose(blue, (pixels[:, :, 2] / 255 - 0.1) / record.std[0], atol=1e-6)


def test_layout_and_dtype() -> None:
    pixels = scene(40, 30)
    for dtype in ("float32", "uint8", "int8"):
        record = replace(RECORD, dtype=dtype)
        nchw, nhwc = preprocess(pixels, record), preprocess(pixels, replace(record, layout="nhwc"))
        assert nchw.shape == (3, 32, 32)
        assert nhwc.shape == (32, 32, 3)
        assert nchw.dtype == nhwc.dtype == dtype
        assert nchw.flags.c_contiguous
        assert nhwc.flags.c_contiguous
        assert np.array_equal(nchw.transpose(1, 2, 0), nhwc)
    raw, signed = (preprocess(pixels, replace(RECORD, dtype=dtype)).astype(int) for dtype in ("uint8", "int8"))
    assert np.array_equal(raw - 128, signed)
    assert np.array_equal(raw.transpose(1, 2, 0), fit_picture(pixels, RECORD))


def test_a_batch_is_its_images_one_by_one() -> None:
    images = [scene(40, 30), scene(50, 60, seed=1)]
    batch = preprocess_batch(images, RECORD)
    assert np.array_equal(batch, np.stack([preprocess(image, RECORD) for image in images]))
    assert preprocess_batch([], RECORD).shape == (0, 3, 32, 32)
    assert preprocess_batch([], replace(RECORD, layout="nhwc", dtype="uint8")).dtype == np.uint8


def test_the_two_halves_make_the_whole() -> None:
    pixels = scene(40, 30)
    assert np.array_equal(normalise(fit_picture(pixels, RECORD), RECORD), preprocess(pixels, RECORD))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_channels_that_a_picture_does_not_have(channels: int) -> None:
    record = replace(RECORD, mean=(0.5,) * channels, std=(0.5,) * channels)
    with pytest.raises(BadData, match=f"colour 'rgb' has 3 channel.*means for {channels}"):
        preprocess(scene(), record)
    with pytest.raises(BadData, match="has 3 channel"):
        preprocess_batch([], record)


def test_an_image_that_is_none_of_ours() -> None:
    for image in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(BadData, match="as read_image gives it"):
            preprocess(image, RECORD)
