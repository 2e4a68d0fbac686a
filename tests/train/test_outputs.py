"""Answers to image files: the same path as deployment, whatever the batch and wherever the pictures are kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import SIDE, tiny_network
from torch import nn

from mobilenets.data import Dataset, Sample, preprocess, read_image
from mobilenets.errors import BadData
from mobilenets.records import Preprocess
from mobilenets.train import predict_outputs
from mobilenets.train.outputs import HeldOut, forward_all

RECORD = Preprocess(size_px=(SIDE, SIDE), interpolation="bicubic", crop_ratio=0.9)


def warmed() -> nn.Module:
    """A network whose batch-norm statistics one batch has filled, in training mode."""
    network = tiny_network()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    network.train()(torch.randn(16, 3, SIDE, SIDE))
    return network


def test_outputs_are_those_of_the_files_one_by_one(dataset: Dataset) -> None:
    network = warmed()
    outputs, targets, files = predict_outputs(network, dataset.test, RECORD, batch=4)
    assert network.training  # as it was
    assert outputs.dtype == np.float32
    assert outputs.shape == (9, 3)
    assert targets.tolist() == [sample.target for sample in dataset.test]
    assert files == tuple(str(sample.file) for sample in dataset.test)
    network.eval()
    with torch.no_grad():
        alone = [network(torch.from_numpy(preprocess(read_image(f), RECORD))[None])[0].numpy() for f in files]
    assert np.abs(outputs - np.stack(alone)).max() < 1e-5
    assert np.abs(outputs - outputs.mean(0)).max() > 1e-2  # and they differ between pictures


@pytest.mark.parametrize("memory_mb", [0.0, 100.0])
def test_held_out_pictures_are_what_preprocess_gives_to_the_bit(dataset: Dataset, memory_mb: float) -> None:
    held = HeldOut(dataset.val, RECORD, memory_mb=memory_mb)
    images = torch.cat([images for images, _ in held.batches(4)])
    wanted = np.stack([preprocess(read_image(sample.file), RECORD) for sample in dataset.val])
    assert np.array_equal(images.numpy(), wanted)


def test_unreadable_files_are_left_out(dataset: Dataset, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    samples = (dataset.test[0], Sample(broken, 1), dataset.test[1])
    _, targets, files = predict_outputs(warmed(), samples, RECORD)
    assert len(files) == len(targets) == 2
    assert str(broken) not in files
    for memory_mb in (0.0, 10.0):
        held = HeldOut(samples, RECORD, memory_mb=memory_mb)
        assert sum(len(some) for _, some in held.batches(2)) == 2
        assert [entry.file for entry in held.unreadable] == [str(broken)]
    with pytest.raises(BadData, match="none of 1"):
        predict_outputs(warmed(), samples[1:2], RECORD)


def test_networks_with_several_outputs_give_several_arrays(dataset: Dataset) -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.mean((2, 3)), x.amax((1, 2, 3))

    (means, tops), samples = forward_all(Two(), HeldOut(dataset.val, RECORD), batch=4, device=torch.device("cpu"))
    assert means.shape == (9, 3)
    assert tops.shape == (9,)
    assert len(samples) == 9


def test_grey_pictures(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 40, 3), 200, np.uint8)).save(tmp_path / "a.png")
    record = Preprocess(size_px=(8, 8), mean=(0.5,), std=(0.25,), colour="grey")
    (images, _), = HeldOut([Sample(tmp_path / "a.png", 0)], record).batches(1)  # fmt: skip
    assert images.shape == (1, 1, 8, 8)
    assert images.mean() == pytest.approx((200 / 255 - 0.5) / 0.25, abs=1e-5)
