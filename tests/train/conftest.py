"""A tiny data set, network and recipe; runs of them take under a second."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import RECIPE, SIDE, make_pictures, tiny_network

from mobilenets.data import Dataset, open_dataset
from mobilenets.records import Preprocess, Training
from mobilenets.tasks import task
from mobilenets.train import Budget, Recipe, train


@pytest.fixture(autouse=True)
def _one_thread(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One torch thread; a cache folder shared by the session, so that timing is done once."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("MOBILENETS_CACHE", str(cache))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 classes told apart by colour: 24 pictures in train, 9 in val, 9 in test."""
    folder = tmp_path_factory.mktemp("pictures")
    make_pictures(folder)
    return folder


@pytest.fixture(scope="session")
def dataset(pictures: Path) -> Dataset:
    return open_dataset(pictures)


@pytest.fixture
def run_tiny(dataset: Dataset, tmp_path: Path) -> Callable[..., tuple[torch.nn.Module, Training]]:
    """Trains a tiny network in tmp_path / name; gives network and record."""

    def run(
        name: str = "run",
        *,
        recipe: Recipe = RECIPE,
        epochs: int | None = 3,
        minutes: float | None = None,
        data: Dataset = dataset,
        used_task: object = None,
        **more: object,
    ) -> tuple[torch.nn.Module, Training]:
        network = tiny_network()
        training = train(
            network,
            used_task or task("classification"),
            data,
            preprocess=Preprocess(size_px=(SIDE, SIDE)),
            recipe=recipe,
            budget=Budget(epochs=epochs, minutes=minutes),
            run=tmp_path / name,
            device="cpu",
            **more,
        )
        return network, training

    return run


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    """Equal to the bit, statistics included."""
    other = b.state_dict()
    return all(torch.equal(value, other[key]) for key, value in a.state_dict().items())


__all__ = ["replace", "same_weights"]
