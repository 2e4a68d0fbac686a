"""A model file pushed: what would go up, without the user's pictures unless asked; timm and we load it and agree."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle.small_model import png
from hub.small_hub import lay_out
from models.warmed import randomise

from mobilenets.bundle import ModelFile, ModelRecord, Provenance, create_model_file
from mobilenets.bundle.record import Origin
from mobilenets.cli import main
from mobilenets.deploy import golden_vectors, trained_network
from mobilenets.errors import CheckpointMismatch, MissingRuntime, UsageError
from mobilenets.hub import fetch, read_hub, sealed_model
from mobilenets.models import build, load_exact, state_arrays
from mobilenets.pushing import Pushed, push
from mobilenets.records import Calibration, Labels, Preprocess
from mobilenets.specs import Spec, resolve, with_stem_stride

LABELS = Labels(("cat", "dog", "wren"), ("a cat", "a dog", "a wren"))
FED = Preprocess((64, 64), crop_ratio=0.9, mean=(0.5,) * 3, std=(0.25,) * 3, interpolation="bicubic")
SPEC = resolve("mobilenetv3_small_050", classes=3, resolution_px=(64, 64))


@dataclass(frozen=True)
class Picture:
    file: Path
    target: int


def make_model(place: Path, spec: Spec = SPEC, fed: Preprocess = FED, *, imported: Origin | None = None) -> Path:
    """A model file with golden pictures of a user's and a report, without an export."""
    network = randomise(build(spec), in_channels=spec.in_channels, side_px=64)
    pictures = []
    for i in range(3):
        (place.parent / f"secret{i}.png").write_bytes(png(i))
        pictures.append(Picture(place.parent / f"secret{i}.png", i))
    calibration = Calibration()
    golden = golden_vectors(
        network,
        fed,
        task="classification",
        labels=LABELS,
        calibration=calibration,
        samples=pictures,  # type: ignore[arg-type]  # what it reads of a sample
    )
    made = Provenance("pets", "ab" * 32, {"train": 3}, "folders", 0, {}, {}, "0", "2026-11-25", imported=imported)
    record = ModelRecord(
        name="pets", task="classification", spec=spec, preprocess=fed, labels=LABELS, calibration=calibration,
        metrics={"test": {"top1": 0.75}}, golden="photos", provenance=made,
    )  # fmt: skip
    weights = state_arrays(network)
    return create_model_file(place, record, weights=weights, golden=golden, report="<img src='data:secret'>").path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("made") / "model")


def test_a_dry_run_lays_everything_out_and_uploads_nothing(model: Path, tmp_path: Path) -> None:
    made = push(model, "me/pets", dry_run=True, out=tmp_path / "staged")
    assert (made.uploaded, made.pictures, made.timm, made.licence) == (False, False, "mobilenetv3_small_050", None)
    files = {file.name: file.stat().st_size for file in (tmp_path / "staged").iterdir()}
    assert {file.name: file.bytes for file in made.files} == files
    assert sorted(files) == ["README.md", "config.json", "model.safetensors", "model.zip"]
    assert any("no licence is named" in note for note in made.notes)
    config = json.loads((tmp_path / "staged" / "config.json").read_text())
    assert (config["architecture"], config["num_classes"], config["label_names"]) == (
        "mobilenetv3_small_050", 3, ["cat", "dog", "wren"])  # fmt: skip
    assert config["pretrained_cfg"]["mean"] == [0.5] * 3
    assert config["pretrained_cfg"]["input_size"] == [3, 64, 64]
    with pytest.raises(UsageError, match="is there already"):
        push(model, "me/pets", dry_run=True, out=tmp_path / "staged")


def everything(folder: Path) -> bytes:
    """Every byte that would be public, zips unpacked."""
    opened = ModelFile.open(folder / "model.zip")
    plain = [file.read_bytes() for file in folder.iterdir() if file.suffix != ".zip"]
    return b"".join([*plain, *(opened.read(name) for name in opened.names)])


def test_pictures_stay_here_unless_asked_for(model: Path, tmp_path: Path) -> None:
    push(model, "me/pets", dry_run=True, out=tmp_path / "bare")
    made = push(model, "me/pets", dry_run=True, out=tmp_path / "full", with_pictures=True)
    assert made.pictures
    assert ModelFile.open(tmp_path / "full" / "model.zip").seal == ModelFile.open(model).seal
    bare, full = everything(tmp_path / "bare"), everything(tmp_path / "full")
    for i in range(3):
        assert png(i) not in bare
        assert png(i) in full, "the broken twin: the same check sees a picture"
    assert b"data:secret" not in bare
    assert b"data:secret" in full
    opened = ModelFile.open(tmp_path / "bare" / "model.zip")
    assert opened.record == replace(ModelFile.open(model).record, golden="synthetic")
    assert opened.golden().index.kind == "synthetic"
    assert b"report.html" not in opened.read("README.md")
    assert all(np.array_equal(array, opened.weights()[name]) for name, array in ModelFile.open(model).weights().items())


def test_synthetic_golden_pictures_go_along_as_they_are(model: Path, tmp_path: Path) -> None:
    push(model, "me/pets", dry_run=True, out=tmp_path / "once")
    made = push(tmp_path / "once" / "model.zip", "me/pets", dry_run=True, out=tmp_path / "twice")
    assert not made.pictures
    assert (tmp_path / "twice" / "model.zip").read_bytes() == (tmp_path / "once" / "model.zip").read_bytes()


def test_the_card_says_what_it_is(model: Path, tmp_path: Path) -> None:
    push(model, "me/pets", dry_run=True, out=tmp_path / "staged", licence="cc-by-4.0")
    card = (tmp_path / "staged" / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\nlibrary_name: timm\npipeline_tag: image-classification\ntags:\n- ")
    assert 'mobilenets.load("hf-hub:me/pets")' in card
    assert 'timm.create_model("hf-hub:me/pets", pretrained=True)' in card
    assert "test: top1 0.75" in card
    with pytest.raises(UsageError, match="is no licence as the hub writes it"):
        push(model, "me/pets", dry_run=True, licence="mit\nevil: true")


def test_the_licence_of_imported_weights_is_handed_on(tmp_path: Path) -> None:
    imported = make_model(tmp_path / "model", imported=Origin("x.tflite", "ab" * 32, "tflite", licence="Apache-2.0"))
    assert push(imported, "me/pets", dry_run=True).licence == "apache-2.0"


OWN_SPEC = with_stem_stride(resolve("mobilenetv3_small", alpha=0.3, classes=3, resolution_px=(64, 64)), 1)


@pytest.mark.parametrize("spec", [SPEC, OWN_SPEC], ids=["timm", "own"])
def test_what_was_pushed_is_read_back_exactly(spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    source = ModelFile.open(make_model(tmp_path / "model", spec))
    made = push(source, "me/pets", dry_run=True, out=tmp_path / "staged", licence="mit")
    assert (made.timm is None) == (spec is OWN_SPEC)
    lay_out(tmp_path / "hub", "me/pets", {file.name: file.read_bytes() for file in (tmp_path / "staged").iterdir()})
    folder = fetch("hf-hub:me/pets")
    read = read_hub(folder)
    assert read.spec == spec
    assert (read.preprocess, read.labels, read.metadata["licence"]) == (FED, LABELS, "mit")
    assert all(np.array_equal(read.arrays[name], array) for name, array in source.weights().items())
    config = json.loads((folder / "config.json").read_text())
    config["mobilenets"]["spec"]["classes"] = 4
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointMismatch, match=r"is not the network of the weights|tensors differ"):
        read_hub(folder)
    sealed = sealed_model(folder)
    assert sealed is not None
    assert ModelFile.open(sealed).record.labels == LABELS


@pytest.mark.peer
def test_timm_loads_it_and_answers_alike(model: Path, tmp_path: Path) -> None:
    import timm
    import torch

    push(model, "me/pets", dry_run=True, out=tmp_path / "staged")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'staged'}", pretrained=True).eval()
    ours = trained_network(ModelFile.open(model))
    x = torch.from_numpy(ModelFile.open(model).golden().inputs)
    with torch.inference_mode():
        a, b = theirs(x), ours(x)
        gap = ((a - b).abs().max() / b.abs().max()).item()
        assert gap <= 1e-6
        twin = build(SPEC, classes=3).eval()
        arrays = state_arrays(ours)
        arrays["classifier.bias"] = arrays["classifier.bias"] + np.float32(1e-3)
        load_exact(twin, arrays)
        assert ((a - twin(x)).abs().max() / b.abs().max()).item() > 1e-6, "one weight nudged is seen"
    fed = timm.data.resolve_model_data_config(theirs)
    assert (tuple(fed["input_size"]), tuple(fed["mean"]), tuple(fed["std"]), fed["crop_pct"], fed["interpolation"]) == (
        (3, 64, 64), FED.mean, FED.std, 0.9, "bicubic")  # fmt: skip
    assert theirs.pretrained_cfg["label_names"] == ["cat", "dog", "wren"]


@pytest.mark.peer
def test_timm_takes_grey_pictures_too(tmp_path: Path) -> None:
    import timm
    import torch

    grey = resolve("mobilenetv2", alpha=0.5, classes=3, in_channels=1, resolution_px=(64, 64))
    fed = Preprocess((64, 64), mean=(0.5,), std=(0.25,), colour="grey", fit="stretch")
    push(make_model(tmp_path / "model", grey, fed), "me/pets", dry_run=True, out=tmp_path / "staged")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'staged'}", pretrained=True).eval()
    opened = ModelFile.open(tmp_path / "model")
    with torch.inference_mode():
        answers = theirs(torch.from_numpy(opened.golden().inputs)).numpy()
    assert np.abs(answers - opened.golden().outputs[0]).max() <= 1e-6 * np.abs(answers).max()
    assert theirs.pretrained_cfg["crop_mode"] == "squash"


class Api:
    """The hub's client, recording what it is told; `fails` is raised instead."""

    def __init__(self, fails: BaseException | None = None) -> None:
        self.told: list[tuple[str, Any]] = []
        self.fails = fails

    def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> None:
        if self.fails is not None:
            raise self.fails
        self.told.append(("create", (repo, private, exist_ok)))

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        self.told.append(("upload", (repo_id, sorted(file.name for file in Path(folder_path).iterdir()))))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Api], Api]:
    import huggingface_hub

    def use(api: Api) -> Api:
        monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
        return api

    return use


def test_an_upload_is_agreed_to_first(model: Path, hub: Callable[[Api], Api]) -> None:
    api = hub(Api())
    shown: list[Pushed] = []

    def no(made: Pushed) -> bool:
        shown.append(made)
        return False

    assert not push(model, "me/pets", confirm=no).uploaded
    assert (api.told, len(shown[0].files)) == ([], 4)
    done = push(model, "me/pets", private=True, confirm=lambda made: True)
    assert done.uploaded
    assert api.told == [
        ("create", ("me/pets", True, True)),
        ("upload", ("me/pets", ["README.md", "config.json", "model.safetensors", "model.zip"])),
    ]


def test_the_command_says_what_it_would_upload(
    model: Path, tmp_path: Path, hub: Callable[[Api], Api], capsys: pytest.CaptureFixture[str]
) -> None:
    api = hub(Api())
    assert main(["push", str(model), "me/pets", "--dry-run", "--private", "-o", str(tmp_path / "staged")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "not uploaded: https://huggingface.co/me/pets (private)"
    assert [line.split()[0] for line in lines[1:5]] == ["README.md", "config.json", "model.safetensors", "model.zip"]
    assert "no pictures of your data are in it" in lines
    assert "timm loads it as mobilenetv3_small_050" in lines
    assert main(["push", str(model), "me/pets"]) == 2, "nobody at a terminal to agree"
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[-1]) == ("", "say --yes")
    assert api.told == []
    assert main(["push", str(model), "me/pets", "--yes", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["uploaded"], answer["pictures"], answer["schema"]) == (True, False, 1)
    assert [file["name"] for file in answer["files"]] == ["README.md", "config.json", "model.safetensors", "model.zip"]
    assert [what for what, _ in api.told] == ["create", "upload"]


def test_refusals_of_the_hub_are_one_line(
    model: Path, hub: Callable[[Api], Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    for fails, kind, says in (
        (errors.OfflineModeIsEnabled("offline"), MissingRuntime, "HF_HUB_OFFLINE forbids to ask the hub"),
        (ConnectionError("no route\nto host"), MissingRuntime, "the hub can't be reached: no route"),
        (errors.HFValidationError("bad name"), UsageError, "is no name that the hub takes: bad name"),
    ):
        hub(Api(fails))
        with pytest.raises(kind, match=says) as caught:
            push(model, "me/pets")
        assert "\n" not in caught.value.message
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(MissingRuntime, match="uploading needs a token") as caught:
        push(model, "me/pets")
    assert caught.value.hint == "hf auth login"
    with pytest.raises(UsageError, match="a push goes to the main branch"):
        push(model, "me/pets@v2")


def test_its_synthetic_golden_vectors_are_the_networks(model: Path, tmp_path: Path) -> None:
    import torch

    push(model, "me/pets", dry_run=True, out=tmp_path / "staged")
    opened = ModelFile.open(tmp_path / "staged" / "model.zip")
    golden, network = opened.golden(), trained_network(opened)
    with torch.inference_mode():
        again = network(torch.from_numpy(golden.inputs)).numpy()
    assert np.abs(again - golden.outputs[0]).max() <= 1e-5 * np.abs(again).max()
