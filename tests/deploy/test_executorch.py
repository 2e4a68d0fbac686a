"""ExecuTorch files: one part for XNNPACK, facts inside, sizes, pixels, damage, and thread counts that take turns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from contracts.target import source
from deploy.conftest import Trained, small_network

from mobilenets.deploy import TARGETS, facts_of
from mobilenets.deploy.checks import relative_errors
from mobilenets.deploy.embedded import Embedded, as_fed
from mobilenets.deploy.executorch import require_pair
from mobilenets.deploy.targets import has_module
from mobilenets.deploy.tracing import Form
from mobilenets.deploy.trained import as_arrays, runner
from mobilenets.errors import BadData, BadModelFile, MissingRuntime, UsageError
from mobilenets.specs import resolve

TARGET = TARGETS["executorch"]
LIMIT = 2e-4
installed = pytest.mark.skipif(not has_module("executorch"), reason="executorch is not installed here")


def facts(trained: Trained) -> Embedded:
    return facts_of(trained.model.record, precision="float32", weights_sha256=trained.model.weights_sha256)


@pytest.fixture(scope="module")
def file(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("executorch") / "model.pte"
    TARGET.export(source(trained.network, facts(trained)), path, facts=facts(trained))
    return path


@pytest.mark.parametrize(
    ("versions", "hint"),
    [
        ({"executorch": "1.4.1", "torch": "2.12.1"}, "pip install 'executorch==1.3.*' 'torch==2.12.*'"),
        ({"executorch": "1.3.1", "torch": "2.13.0+cpu"}, "pip install 'executorch==1.4.*' 'torch==2.13.*'"),
        ({"executorch": "9.0", "torch": "3.0"}, "pip install 'executorch==1.3.*' 'torch==2.12.*'"),
    ],
)
def test_a_wrong_pair_is_refused(versions: dict[str, str], hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", versions.__getitem__)
    with pytest.raises(MissingRuntime) as caught:
        require_pair()
    assert all(version in caught.value.message for version in versions.values())
    assert caught.value.hint == hint
    monkeypatch.setattr("importlib.metadata.version", {"executorch": "1.3.9", "torch": "2.12.0+cpu"}.__getitem__)
    require_pair()


@installed
@pytest.mark.slow
def test_one_part_for_xnnpack_and_nothing_outside(file: Path, trained: Trained) -> None:
    structure = TARGET.inspect(file, precision="float32")
    assert (structure.partitions, structure.outside) == (1, 0)
    assert structure.operators["Conv2d"] > 4
    assert structure.operators["Hardswish"] > 0
    folded = source(trained.network, facts(trained)).folded()
    weights = sum(parameter.numel() for parameter in folded.parameters())
    assert weights <= structure.weights.pop("float32") <= weights + 100  # constants of the gates
    assert structure.weights == {}


@installed
@pytest.mark.slow
def test_it_answers_as_the_network_and_no_other(
    file: Path, trained: Trained, capfd: pytest.CaptureFixture[str]
) -> None:
    session = TARGET.open(file)
    inputs = np.random.default_rng(1).standard_normal((16, 3, 32, 32)).astype(np.float32)
    reference = runner(trained.network)(inputs)
    found = as_arrays(session.run(inputs))
    assert relative_errors(reference, found)[0] <= LIMIT
    assert (reference[0].argmax(1) == found[0].argmax(1)).all()
    assert relative_errors((reference[0] * (1 + 5 * LIMIT),), found)[0] > LIMIT
    assert capfd.readouterr() == ("", "")


@installed
@pytest.mark.slow
def test_sessions_of_other_thread_counts_take_turns(file: Path) -> None:
    """The runtime's one pool is exchanged under them: methods loaded with the old one would use freed memory."""
    sessions = [TARGET.open(file, threads=count) for count in (1, 2, 1, 3)]
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    answers = [session.run(image) for _ in range(3) for session in sessions]
    assert all(np.allclose(answer, answers[0], atol=1e-5) for answer in answers)


@installed
@pytest.mark.slow
def test_damage_is_found_before_the_runtime_sees_it(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    damaged = tmp_path / "damaged.pte"
    for content in (*(data[:length] for length in (0, 7, 40, 47, 200, len(data) // 2, len(data) - 1)), b"?" * 4096):
        damaged.write_bytes(content)
        for read in (lambda: TARGET.open(damaged), lambda: TARGET.inspect(damaged, precision="float32")):
            with pytest.raises(BadModelFile) as caught:
                read()
            assert str(damaged) in caught.value.message
            assert "\n" not in caught.value.message


@installed
@pytest.mark.slow
def test_one_file_takes_several_sizes(trained: Trained, tmp_path: Path) -> None:
    """The small picture comes first: without the largest before it the runtime answers larger ones with garbage."""
    network = small_network(resolve("mobilenetv3_small", alpha=0.5, resolution_px=(32, 32), classes=3))
    path = tmp_path / "model.pte"
    whole = replace(source(network, facts(trained)), form=Form(sizes_px=((96, 64),)))
    TARGET.export(whole, path, facts=facts(trained))
    session = TARGET.open(path)
    assert session.input_shape == (None, 3, None, None)
    for size in ((32, 32), (96, 64), (64, 32), (64, 64), (32, 32)):
        inputs = np.random.default_rng(1).standard_normal((2, 3, *size)).astype(np.float32)
        assert relative_errors(runner(network)(inputs), as_arrays(session.run(inputs)))[0] <= LIMIT
    for size in ((128, 32), (48, 32)):
        with pytest.raises(BadData, match=r"32x32 to 96x64 \(h x w\) in steps of 32"):
            session.run(np.zeros((1, 3, *size), np.float32))


@installed
def test_sizes_that_are_no_multiples_are_refused(trained: Trained, tmp_path: Path) -> None:
    whole = replace(source(trained.network, facts(trained)), form=Form(sizes_px=((48, 48),)))
    with pytest.raises(UsageError, match="multiples of 32 px, not 48x48"):
        TARGET.export(whole, tmp_path / "model.pte", facts=facts(trained))
    assert list(tmp_path.iterdir()) == []


@installed
@pytest.mark.slow
def test_pixels_are_normalised_inside(trained: Trained, tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    whole = replace(source(trained.network, facts(trained)), form=Form(with_preprocess=True))
    TARGET.export(whole, path, facts=facts(trained))
    session = TARGET.open(path)
    assert (session.input_shape, session.input_dtype) == ((None, 32, 32, 3), np.uint8)
    assert session.facts == TARGET.fed(facts(trained), with_preprocess=True)
    pixels = np.random.default_rng(2).integers(0, 256, (3, 32, 32, 3), np.uint8)
    record = facts(trained).preprocess
    mean, std = (np.array(side, np.float32)[:, None, None] for side in (record.mean, record.std))
    tensors = (np.moveaxis(pixels, -1, 1).astype(np.float32) / 255 - mean) / std
    assert np.array_equal(as_fed(tensors, record, session.facts.preprocess), pixels)
    assert relative_errors(runner(trained.network)(tensors), as_arrays(session.run(pixels)))[0] <= LIMIT


@installed
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(trained: Trained, tmp_path: Path) -> None:
    class Branching(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))

    with pytest.raises(UsageError, match="can't be exported to ExecuTorch") as caught:
        TARGET.export(source(Branching(), facts(trained)), tmp_path / "x.pte", facts=facts(trained))
    assert "\n" not in caught.value.message
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "place").write_text("")
    with pytest.raises(UsageError, match="can't be written") as refused:
        TARGET.export(source(trained.network, facts(trained)), tmp_path / "place" / "x.pte", facts=facts(trained))
    assert "\n" not in refused.value.message


@installed
def test_the_runtime_runs(capfd: pytest.CaptureFixture[str]) -> None:
    TARGET.try_runtime()
    assert capfd.readouterr() == ("", "")
