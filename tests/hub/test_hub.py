"""Repositories of the hub: addresses, the cache respected, only what is needed asked for, one line for each refusal."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hub.small_hub import COMMIT, REPO, drawn, lay_out, serving, timm_repository

from mobilenets.errors import BadData, CheckpointMismatch, MissingRuntime, MobilenetsError, UnknownName, UsageError
from mobilenets.hub import fetch, hub_parts, is_hub_address, read_hub, sealed_model
from mobilenets.models.weights.huggingface import huggingface_names
from mobilenets.models.weights.layout import slots
from mobilenets.records import Preprocess
from mobilenets.specs import Spec, resolve

pytest.importorskip("huggingface_hub")

SPEC = resolve("mobilenetv3_small_050", classes=3)


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return timm_repository(SPEC, drawn(SPEC))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's client, which is offline."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.fixture
def online(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Points the client to a server and lets it ask."""
    from huggingface_hub import constants

    def to(address: str) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )

    return to


def test_addresses() -> None:
    assert is_hub_address("hf-hub:timm/x")
    assert not is_hub_address("timm/x")
    assert hub_parts("hf-hub:timm/mobilenetv2_100.ra_in1k") == ("timm/mobilenetv2_100.ra_in1k", None)
    assert hub_parts("me/pets@v1.0") == ("me/pets", "v1.0")
    for wrong in ("hf-hub:", "pets", "a/b/c", "me/pets@", "../pets", "me/..", "me/pe ts", "https://x/y"):
        with pytest.raises(UsageError, match="is no repository of the hub"):
            hub_parts(wrong)


def test_a_cached_repository_is_read_without_a_network(cache: Path, files: dict[str, bytes]) -> None:
    snapshot = lay_out(cache, REPO, files)
    folder = fetch(f"hf-hub:{REPO}")
    assert folder == snapshot
    read = read_hub(folder)
    assert replace(read.spec, resolution_px=SPEC.resolution_px) == SPEC
    assert read.preprocess == Preprocess(
        (96, 96), crop_ratio=0.9, mean=(0.5,) * 3, std=(0.25,) * 3, interpolation="bicubic"
    )
    assert read.labels is not None
    assert (read.labels.ids, read.labels.name(0)) == (("cat", "dog", "wren"), "a cat")
    assert read.metadata["repo"] == REPO
    assert (read.metadata["revision"], read.metadata["licence"]) == (COMMIT, "apache-2.0")
    assert sealed_model(folder) is None
    held = drawn(SPEC)
    assert all(np.array_equal(read.arrays[name], held[name]) for name in held)
    assert read.arrays.keys() == held.keys()


def test_the_environment_of_the_clients_is_respected(tmp_path: Path, files: dict[str, bytes]) -> None:
    lay_out(tmp_path / "hub", REPO, files)
    code = f"from mobilenets.hub import fetch; import sys; sys.stdout.write(str(fetch('{REPO}')))"
    env = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(COMMIT)


def test_a_changed_byte_is_seen(cache: Path, files: dict[str, bytes]) -> None:
    snapshot = lay_out(cache, REPO, files)
    blob = (snapshot / "model.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(bytes(data))
    for use in (lambda: fetch(REPO), lambda: read_hub(snapshot)):
        with pytest.raises(BadData, match="is not the file that the hub lists"):
            use()


def test_what_is_not_cached_says_how_to_get_it(cache: Path) -> None:
    with pytest.raises(MissingRuntime, match="is not in the hub's cache here, and the hub can't be reached") as caught:
        fetch("timm/mobilenetv2_100.ra_in1k", offline=True)
    assert "\n" not in caught.value.message + caught.value.hint
    assert f"copy its cache folder models--timm--mobilenetv2_100.ra_in1k into {cache}" in caught.value.hint


def test_only_what_is_needed_is_asked_for(online: Callable[[str], None], files: dict[str, bytes]) -> None:
    with serving({REPO: files}) as server:
        online(server.address)
        folder = fetch(REPO)
        assert folder.name == COMMIT
        assert sorted(server.asked) == ["README.md", "config.json", "model.safetensors"]
        assert read_hub(folder).spec.classes == 3
        fetch(REPO)
        assert len(server.asked) == 3, "the second time the cache is enough"


def test_the_pickled_weights_are_the_second_choice(online: Callable[[str], None], files: dict[str, bytes]) -> None:
    old = {name: data for name, data in files.items() if name != "model.safetensors"}
    with serving({REPO: old, "me/empty": {"config.json": b"{}"}, "me/none": {"README.md": b""}}) as server:
        online(server.address)
        folder = fetch(REPO)
        assert (folder / "pytorch_model.bin").read_bytes() == b"never asked for"
        with pytest.raises(BadData, match="no PyTorch checkpoint"):
            read_hub(folder)
        with pytest.raises(UnknownName, match=r"has neither model.safetensors nor pytorch_model.bin"):
            fetch("me/empty")
        with pytest.raises(UnknownName, match=r"has no config.json"):
            fetch("me/none")


@pytest.mark.parametrize(
    ("code", "kind", "says", "hint"),
    [
        ("RepoNotFound", UnknownName, "no repository 'me/pets' on the hub", "see: mobilenets weights list"),
        ("GatedRepo", UsageError, "me/pets: is gated", "hf auth login"),
        ("RevisionNotFound", UnknownName, "me/pets: has no revision 'v9'", ""),
        ("drops", MissingRuntime, "config.json did not come whole", "it goes on where it stopped"),
    ],
)
def test_each_refusal_is_one_line(
    online: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    kind: type[MobilenetsError],
    says: str,
    hint: str,
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's own attempts
    with serving({"me/pets": code}) as server:
        online(server.address)
        with pytest.raises(kind, match=says) as caught:
            fetch("me/pets", revision="v9")
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message


def test_without_the_client_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingRuntime, match="huggingface_hub is not installed") as caught:
        fetch(REPO)
    assert caught.value.hint == "pip install 'mobilenets[hub]'"


def hugging_face(spec: Spec) -> dict[str, bytes]:
    """A repository in transformers' style."""
    from safetensors.numpy import save

    names, arrays = huggingface_names(spec), drawn(spec)
    shaped = {names[slot.name]: np.ascontiguousarray(arrays[slot.name]) for slot in slots(spec)}
    config = {
        "model_type": "mobilenet_v2", "architectures": ["MobileNetV2ForImageClassification"], "depth_multiplier": 0.35,
        "image_size": 96, "tf_padding": True, "layer_norm_eps": 0.001, "hidden_act": "relu6",
        "id2label": {"0": "background", "1": "crane", "2": "crane"},
    }  # fmt: skip
    processor = {
        "size": {"shortest_edge": 128}, "crop_size": {"height": 96, "width": 96}, "resample": 2,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    }  # fmt: skip
    return {
        "config.json": json.dumps(config).encode(),
        "preprocessor_config.json": json.dumps(processor).encode(),
        "model.safetensors": save(shaped),
    }


def test_transformers_style(cache: Path) -> None:
    spec = resolve("mobilenet_v2_0.35_96", classes=3)
    lay_out(cache, "google/mobilenet_v2_0.35_96", hugging_face(spec))
    read = read_hub(fetch("google/mobilenet_v2_0.35_96"))
    assert (read.spec.padding, read.spec.norm.eps, read.spec.resolution_px) == ("same", 0.001, (96, 96))
    assert read.spec.rows == spec.rows
    assert (read.preprocess.size_px, read.preprocess.crop_ratio, read.preprocess.std) == ((96, 96), 0.75, (0.5,) * 3)
    assert read.labels is not None
    assert read.labels.names == ("background", "crane", "crane")


@pytest.mark.parametrize(
    "config",
    [
        b"", b"[]", b"\xff", b"[" * 100_000, b'{"architecture": 3}', b'{"mobilenets": 3}',
        b'{"mobilenets": {"model": "../evil.zip"}}', b'{"mobilenets": {"names": "own", "spec": {"name": "x"}}}',
        b'{"pretrained_cfg": {"input_size": [3, 0, -1], "mean": "x"}, "architecture": "mobilenetv3_small_050"}',
        b'{"architecture": "mobilenetv3_small_050", "pretrained_cfg": []}',
        b'{"label_names": [1, 2], "architecture": "mobilenetv3_small_050"}',
    ],
)  # fmt: skip
def test_a_config_that_holds_nonsense_is_refused(cache: Path, files: dict[str, bytes], config: bytes) -> None:
    if config == b'{"architecture": 3}':
        assert read_hub(lay_out(cache, REPO, files | {"config.json": config})).spec.classes == 3, "only a hint"
        return
    with pytest.raises(UsageError) as caught:
        read_hub(lay_out(cache, REPO, files | {"config.json": config}))
    assert "config" in caught.value.message
    assert "\n" not in caught.value.message


def test_weights_of_another_network_are_refused(cache: Path, files: dict[str, bytes]) -> None:
    from safetensors.numpy import load, save

    tensors = load(files["model.safetensors"])
    tensors["blocks.2.0.conv_pw.weight"] = tensors["blocks.2.0.conv_pw.weight"][:-1].copy()
    with pytest.raises(CheckpointMismatch, match=r"blocks.2.0.conv_pw.weight has shape") as caught:
        read_hub(lay_out(cache, REPO, files | {"model.safetensors": save(tensors)}))
    assert "\n" not in caught.value.message
