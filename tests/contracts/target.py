"""The contract of a deployment target: what every row of the targets table must do, whoever wrote it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mobilenets.deploy.checks import LIMITS, relative_errors
from mobilenets.deploy.embedded import Embedded, as_fed
from mobilenets.deploy.targets import Precision, Target
from mobilenets.deploy.tracing import Source
from mobilenets.deploy.trained import as_arrays, runner
from mobilenets.errors import BadData, BadModelFile, MobilenetsError, UsageError


def check_target(target: Target, precision: Precision, network: nn.Module, facts: Embedded, folder: Path) -> Path:
    """Export `network`, run the file, break it; returns the path of the good file.

    network: answers differently to different pictures (statistics filled). facts: what belongs into the file.
    """
    path = folder / f"good{target.suffix}"
    _check_export_leaves_the_network(target, network, facts, path)
    structure = target.inspect(path, precision=precision)
    assert structure.complaints == ()
    assert sum(structure.operators.values()) > 0
    assert sum(structure.weights.values()) > 0
    if not target.why_not_here(precision):
        _check_answers(target, precision, network, facts, path)
        _check_refusals(target, facts, path, folder)
        target.try_runtime()
    return path


def source(network: nn.Module, facts: Embedded) -> Source:
    record = facts.preprocess
    return Source(network, facts.network, facts.output_names, record.channels, record.size_px)


def _check_export_leaves_the_network(target: Target, network: nn.Module, facts: Embedded, path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    grads = [parameter.requires_grad for parameter in network.parameters()]
    threads = torch.get_num_threads()
    network.train()
    target.export(source(network, facts), path, facts=facts)
    assert network.training, "the network is given back in the mode it came in"
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert [parameter.requires_grad for parameter in network.parameters()] == grads
    assert torch.get_num_threads() == threads
    left = {file.relative_to(path.parent).as_posix() for file in path.parent.rglob("*") if file.is_file()}
    assert left == {file.relative_to(path.parent).as_posix() for file in target.files(path)}, "nothing else beside it"


def _check_answers(target: Target, precision: Precision, network: nn.Module, facts: Embedded, path: Path) -> None:
    session = target.open(path, threads=1)
    record = facts.preprocess
    fed = target.fed(facts)
    assert session.facts == fed
    assert session.output_names == facts.output_names
    shape = (record.channels, *record.size_px)
    assert session.input_shape == (None, *(shape if target.layout == "nchw" else (*record.size_px, record.channels)))
    assert session.input_dtype == np.float32
    inputs = np.random.default_rng(0).standard_normal((5, *shape)).astype(np.float32)
    reference = runner(network)(inputs)
    given = as_fed(inputs, record, fed.preprocess)
    for count in (5, 1, 2):
        found = as_arrays(session.run(given[:count]))
        worst, _ = relative_errors(tuple(r[:count] for r in reference), found)
        assert worst <= LIMITS[precision].max_relative_error
    kept = as_arrays(session.run(given[:1]))
    before = [array.copy() for array in kept]
    session.run(given[1:2])
    assert all(np.array_equal(a, b) for a, b in zip(kept, before, strict=True)), "the caller's arrays are its own"
    assert min(array.std(axis=0).max() for array in reference) > 1e-3, "a network that answers all alike proves nothing"
    two = target.open(path, threads=2)
    assert relative_errors(reference, as_arrays(two.run(given)))[0] <= LIMITS[precision].max_relative_error
    if target.layers:
        layers = list(target.layers_of(path, given[:2]))
        assert len({name for name, _ in layers}) == len(layers) > 5
        assert any(name.startswith("backbone.stem") for name, _ in layers), "layers bear the network's own names"
        assert relative_errors((reference[0][:2],), (layers[-1][1],))[0] <= LIMITS[precision].max_relative_error


def _check_refusals(target: Target, facts: Embedded, path: Path, folder: Path) -> None:
    session = target.open(path)
    good = np.zeros((1, *(side or 1 for side in session.input_shape[1:])), np.float32)
    for bad in (good[0], good[:, :1], good[:, :, :-1], good.astype(np.float64), good[:0]):
        with pytest.raises(BadData) as caught:
            session.run(bad)
        assert str(path) in caught.value.message
    damaged = folder / f"damaged{target.suffix}"
    victim = damaged
    if path.is_dir():  # a package: the network is the largest file in it
        shutil.copytree(path, damaged)
        victim = max((file for file in damaged.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    data = (path if path.is_file() else victim).read_bytes()
    for content in (b"", b"no network", data[: len(data) // 2]):
        victim.write_bytes(content)
        with pytest.raises(BadModelFile) as refused:
            target.open(damaged)
        assert "\n" not in refused.value.message
        assert str(damaged) in refused.value.message
    victim.unlink()
    with pytest.raises(BadModelFile):
        target.open(damaged)
    with pytest.raises(UsageError, match="threads"):
        target.open(path, threads=0)


def check_failed_export(target: Target, network: nn.Module, facts: Embedded, folder: Path) -> None:
    """An export that can't be done ends in one error of ours and leaves nothing behind."""
    place = folder / "file"
    place.write_text("")
    with pytest.raises(MobilenetsError) as caught:
        target.export(source(network, facts), place / f"model{target.suffix}", facts=facts)
    assert "\n" not in caught.value.message
    assert [file.name for file in folder.iterdir()] == ["file"]
