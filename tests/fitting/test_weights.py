"""Training that begins with weights: what is taken over, replaced, adapted, refused and said, and that it pays."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from mobilenets.bundle import ModelFile
from mobilenets.bundle.record import Origin
from mobilenets.codec import to_json
from mobilenets.data import Dataset, open_dataset
from mobilenets.errors import BadData, UsageError
from mobilenets.fitting import fit, train_run
from mobilenets.models import Network, build, fold, state_arrays
from mobilenets.planning import Event
from mobilenets.records import Preprocess
from mobilenets.specs import Spec, resolve
from mobilenets.starting import open_start, started_network
from mobilenets.tasks import task
from mobilenets.train import Augmentation, Budget, Recipe, predict_outputs, read_config, train, unfold, unfolded_spec

SIDE = 32
FED = Preprocess((SIDE, SIDE), crop_ratio=1.0, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
LEARN = Recipe(
    name="learn", epochs=24, batch=24, lr=6e-3, warmup_epochs=1, ema=None, label_smoothing=0.0,
    precision="float32", memory_format="channels_last", augmentation=Augmentation(scale=(0.6, 1.0)),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One way to compute steps, so that none is timed."""
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr("mobilenets.train.preparing.candidates", lambda device, recipe: (("channels_last", "float32"),))


def stripes(folder: Path, angles: range, *, each: dict[str, int], seed: int) -> Path:
    """Striped pictures, one class an angle, of any colours and widths: what a network must learn to see."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :40]
    for split, count in each.items():
        for angle in angles:
            (folder / split / f"angle{angle}").mkdir(parents=True)
            for i in range(count):
                turn, width = np.deg2rad(angle + random.normal(0, 4)), random.uniform(0.5, 1.0)
                wave = np.sin(width * (rows * np.sin(turn) + columns * np.cos(turn)) + random.uniform(0, 6))
                colours = random.uniform(0, 255, (2, 3))
                pixels = colours[0] + (colours[1] - colours[0]) * (0.5 + 0.5 * wave[..., None])
                pixels += random.normal(0, 12, pixels.shape)
                file = folder / split / f"angle{angle}" / f"{i}.png"
                Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file)
    return folder


def written(path: Path, network: Network) -> Path:
    """The network as `import --backbone` writes one."""
    told = {
        "format": "mobilenets",
        "spec": to_json(network.spec),
        "preprocess": to_json(FED),
        "origin": to_json(Origin("stripes.tflite", "ab" * 32, "tflite", licence="Apache-2.0")),
    }
    save_file(state_arrays(network), path, metadata=told)  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A tiny network that has learnt six angles of stripes."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("learnt")
    data = open_dataset(stripes(root / "data", range(0, 180, 30), each={"train": 32, "val": 1, "test": 1}, seed=0))
    torch.manual_seed(0)
    spec = resolve("mobilenetv2", alpha=0.25, resolution_px=(SIDE, SIDE), stem_stride=1)
    network = task("classification").build(replace(spec, rows=spec.rows[:8]), data.labels)
    assert isinstance(network, Network)
    train(network, task("classification"), data, preprocess=FED, recipe=LEARN, budget=Budget(epochs=24),
          run=root / "run", device="cpu")  # fmt: skip
    return network.eval()


@pytest.fixture(scope="module")
def weights(learnt: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("weights") / "backbone.safetensors", learnt)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four other angles, eight training pictures each."""
    folder = tmp_path_factory.mktemp("few")
    return stripes(folder / "few", range(15, 180, 45), each={"train": 8, "val": 4, "test": 25}, seed=1)


def top1(run: Path, data: Dataset) -> float:
    """Of a run's best weights on test."""
    from mobilenets.train.state import load_tensors, load_weights

    config = read_config(run)
    assert config.network is not None
    network = build(config.network)
    load_weights(network, load_tensors(run / "best.safetensors"))
    found = predict_outputs(network.eval(), data.test, config.preprocess)
    return float((found.outputs.argmax(1) == found.targets).mean())


def test_few_pictures_and_weights_beat_scratch(weights: Path, few: Path, tmp_path: Path) -> None:
    told: list[object] = []
    result = train_run(few, weights=weights, epochs=4, out=tmp_path / "started", on_event=told.append)
    train_run(few, network=open_start(weights, network="auto", alpha=None).spec, resolution_px=(SIDE, SIDE), epochs=4,
              out=tmp_path / "scratch")  # fmt: skip
    data = open_dataset(few)
    started, scratch = top1(tmp_path / "started", data), top1(tmp_path / "scratch", data)
    assert started >= 0.6
    assert started >= scratch + 0.2
    said = [event.text for event in told if isinstance(event, Event) and event.step == "train"]
    assert "the classifier of 6 classes is replaced by one of 4" in said
    notes = result.training.notes
    assert any(note.startswith("head fitted to the embeddings of 32 pictures") for note in notes)
    assert any(note.startswith("before the first step: top1 on val") for note in notes)
    assert any("of the start" in note for note in notes)


def test_what_is_taken_over(weights: Path, few: Path, learnt: Network, tmp_path: Path) -> None:
    train_run(few, weights=weights, epochs=1, resolution_px=(48, 40), out=tmp_path / "run")
    config = read_config(tmp_path / "run")
    assert config.preprocess == replace(FED, size_px=(48, 40))
    assert config.network is not None
    assert replace(config.network, classes=6, resolution_px=(SIDE, SIDE)) == learnt.spec
    assert config.recipe.name == "finetune"


def prepared(weights: Path, data: Path, spec: Callable[[Spec], Spec], fed: Preprocess = FED) -> Network:
    start = open_start(weights, network="auto", alpha=None)
    dataset = open_dataset(data)
    network = started_network(start, spec(replace(start.spec, classes=4)), dataset, fed, seed=0)
    assert isinstance(network, Network)
    return network


def test_the_stem_is_adapted_to_grey(weights: Path, few: Path, learnt: Network) -> None:
    grey = replace(FED, mean=(0.5,), std=(0.5,), colour="grey")
    network = prepared(weights, few, lambda spec: replace(spec, in_channels=1), grey)
    one = torch.rand(3, 1, SIDE, SIDE)
    same = network.eval().embed(one), learnt.embed(one.repeat(1, 3, 1, 1))
    assert torch.allclose(*same, atol=1e-4)


def test_a_grey_fit_says_so(weights: Path, few: Path, tmp_path: Path) -> None:
    told: list[object] = []
    train_run(few, weights=weights, in_channels=1, epochs=1, out=tmp_path / "run", on_event=told.append)
    assert any(isinstance(e, Event) and "3 channels are summed up for 1" in e.text for e in told)
    assert read_config(tmp_path / "run").preprocess.colour == "grey"


@pytest.mark.slow
def test_a_classifier_of_the_same_labels_is_kept(few: Path, tmp_path: Path, learnt: Network) -> None:
    """A model file tells its labels; a second training on the same ones goes on with its classifier."""
    first = fit(few, weights=written(tmp_path / "w.safetensors", learnt), epochs=1, out=tmp_path / "one")
    told: list[object] = []
    train_run(few, weights=first.model, epochs=1, out=tmp_path / "two", on_event=told.append)
    assert any(isinstance(e, Event) and "the classifier of 4 classes is kept" in e.text for e in told)
    assert read_config(tmp_path / "two").recipe.head == "as_built"


def test_folded_norms_come_back_and_answer_alike(learnt: Network, few: Path, tmp_path: Path) -> None:
    folded = fold(learnt)
    path = written(tmp_path / "folded.safetensors", folded)
    network = prepared(path, few, unfolded_spec)
    assert network.spec.stem.norm == "batch"
    images = torch.randn(4, 3, SIDE, SIDE)
    with torch.no_grad():
        ours, theirs = network.embed(images), folded.embed(images)
    assert float((ours - theirs).abs().max()) <= 1e-4 * float(theirs.abs().max())
    norm = network.backbone.blocks[0].dw.norm
    assert not torch.allclose(norm.running_mean, torch.zeros_like(norm.running_mean), atol=1e-2)
    train_run(few, weights=path, epochs=4, out=tmp_path / "run")
    assert top1(tmp_path / "run", open_dataset(few)) >= 0.6


def test_statistics_of_other_pictures_are_a_broken_twin(learnt: Network) -> None:
    """What unfold measures is what training-mode batch norm sees: on its own pictures the two modes agree."""
    images = torch.randn(32, 3, SIDE, SIDE)
    network = unfold(fold(learnt), [images])
    other = unfold(fold(learnt), [3.0 * images + 2.0])

    def gap(found: Network) -> float:
        own = found.eval().embed(images)
        return float((found.train().embed(images) - own).abs().max() / own.abs().max())

    with torch.no_grad():
        assert gap(network) < 1e-3
        assert gap(other) > 0.05


@pytest.mark.parametrize(
    ("asked", "says"),
    [({"network": "mobilenetv3_small"}, "not of mobilenetv3_small"), ({"alpha": 0.5}, "not 0.5")],
)
def test_another_network_is_refused(
    weights: Path, few: Path, tmp_path: Path, asked: dict[str, object], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        train_run(few, weights=weights, epochs=1, out=tmp_path / "run", **asked)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_a_header_without_its_spec_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    save_file({"a": np.zeros(1, np.float32)}, path, metadata={"format": "mobilenets"})
    with pytest.raises(BadData, match="its header has no spec"):
        open_start(path, network="auto", alpha=None)


def test_a_stopped_run_needs_no_weights_and_one_without_state_does(weights: Path, few: Path, tmp_path: Path) -> None:
    """Resumed, a run ends with the weights of the run left alone, to the bit."""
    copy = tmp_path / "w.safetensors"
    copy.write_bytes(weights.read_bytes())
    whole = train_run(few, weights=copy, epochs=3, out=tmp_path / "whole")

    def stop(event: object) -> None:
        if getattr(event, "epoch", 0) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(few, weights=copy, epochs=3, out=tmp_path / "stopped", on_event=stop)
    begun = (tmp_path / "stopped" / "resume.safetensors").read_bytes()
    (tmp_path / "stopped" / "resume.safetensors").unlink()
    copy.rename(tmp_path / "away")
    with pytest.raises(UsageError, match="No such file"):
        train_run(resume=tmp_path / "stopped")
    (tmp_path / "stopped" / "resume.safetensors").write_bytes(begun)
    again = train_run(resume=tmp_path / "stopped")
    assert again.training.history[-1].train_loss == whole.training.history[-1].train_loss
    a, b = ((tmp_path / run / "best.safetensors").read_bytes() for run in ("whole", "stopped"))
    assert a == b


@pytest.mark.slow
def test_the_model_says_where_it_comes_from(weights: Path, few: Path, tmp_path: Path) -> None:
    result = fit(few, weights=weights, epochs=4, out=tmp_path / "run")
    assert result.onnx.passed
    assert result.probe_top1 is not None
    assert result.gain is not None
    assert result.gain[0] == pytest.approx(result.top1 - result.probe_top1)
    packed = ModelFile.open(result.model)
    assert packed.record.provenance.origin == str(weights)
    assert packed.record.provenance.imported is not None
    assert packed.record.provenance.imported.licence == "Apache-2.0"
    page = Path(result.report).read_text()
    for words in ("Apache-2.0", "ab" * 32, "linear probe on frozen features", "is replaced by one of 4"):
        assert words in page
    assert "ab" * 32 in packed.read("README.md").decode()
