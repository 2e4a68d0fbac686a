"""Opening checkpoint files: every layout that training scripts write, and files that are damaged or mean harm."""

import argparse
import os
import pickle
import random
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mobilenets.errors import BadData, CheckpointMismatch, UsageError
from mobilenets.models import build, state_arrays
from mobilenets.models.weights.checkpoint import open_checkpoint, write_checkpoint
from mobilenets.models.weights.state_dict import read_state_dict
from mobilenets.models.weights.timm import write_timm

MUTATIONS = 200
SLOWEST_S = 2.0


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    found = {f"layer.{i}.weight": rng.normal(size=(4, 3)).astype(np.float32) for i in range(4)}
    return found | {"layer.0.num_batches_tracked": np.array(7, np.int64)}


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def floats(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if array.dtype.kind == "f"}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_what_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    write_checkpoint(path, weights())
    found = open_checkpoint(path)
    assert equal(found.arrays, floats(weights()))
    twin = dict(found.arrays)
    twin["layer.1.weight"] = twin["layer.1.weight"] + np.float32(1e-6)
    assert not equal(twin, floats(weights()))
    assert list(tmp_path.iterdir()) == [path]


def test_other_suffixes_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.safetensors, \.pth or \.pt"):
        write_checkpoint(tmp_path / "w.onnx", weights())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize(
    "key", ["state_dict", "model", "model_state_dict", "net", "params", "weights", "state_dict_ema"]
)
def test_nested_state_dicts(tmp_path: Path, key: str, is_zip: bool) -> None:
    path = tmp_path / "w.pth.tar"
    whole = {"epoch": 3, "arch": "resnet18", "best_acc1": torch.tensor(46.75), key: tensors(weights())}
    whole |= {"optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"betas": (0.9, 0.99)}]}}
    torch.save(whole | {"args": argparse.Namespace(lr=0.1)}, path, _use_new_zipfile_serialization=is_zip)
    found = open_checkpoint(path)
    assert equal(found.arrays, floats(weights()))
    assert found.metadata == {"epoch": "3", "arch": "resnet18", "best_acc1": "46.75", "weights_from": key}


def test_plain_weights_go_before_averaged_ones(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    averaged = {name: array + 1 for name, array in floats(weights()).items()}
    torch.save({"state_dict_ema": tensors(averaged), "state_dict": tensors(weights())}, path)
    found = open_checkpoint(path)
    assert equal(found.arrays, floats(weights()))
    assert found.metadata["weights_from"] == "state_dict (state_dict_ema left aside)"


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32(tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    from safetensors.torch import save_file

    state = {name: tensor.to(dtype) for name, tensor in tensors(floats(weights())).items()}
    path = tmp_path / f"w{suffix}"
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    found = open_checkpoint(path).arrays
    assert all(array.dtype == np.float32 for array in found.values())
    assert equal(found, {name: tensor.float().numpy() for name, tensor in state.items()})


def test_integers_are_listed_not_read(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(tensors(weights()) | {"anchors": torch.arange(3)}, path)
    assert open_checkpoint(path).left_out == ("anchors",)


# --- files that mean harm ------------------------------------------------------------------------------------------

MAGIC = b"".join(pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
NO_KEYS = b"\x80\x02]q\x00."
ONE_KEY = b"\x80\x02](X\x01\x00\x00\x000e." + struct.pack("<q", 4) + bytes(16)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def tensor_pickle(told: int, shape: int, stride: int = 1) -> bytes:
    """A legacy state dict of three tensors in one storage of `told` numbers, each of `shape` numbers."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(told) + b"NtQ"
    one = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + number(shape) + b"\x85" + number(stride)
    one += b"\x85\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}(" + b"".join(text(f"w{i}") + one for i in range(3)) + b"u."


class Harm:
    """Unpickled, makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def code_by_module(marker: Path) -> bytes:
    return b"\x80\x02cposix\nmkdir\n" + text(str(marker)) + b"\x85R."


def code_in_zip(path: Path, marker: Path) -> None:
    torch.save({"state_dict": tensors(weights()), "harm": Harm(marker)}, path)


def code_in_legacy(path: Path, marker: Path) -> None:
    path.write_bytes(MAGIC + code_by_module(marker) + NO_KEYS)


def code_bare(path: Path, marker: Path) -> None:
    path.write_bytes(pickle.dumps(Harm(marker), 4))


def code_as_text(path: Path, marker: Path) -> None:
    path.write_bytes(b"cposix\nmkdir\n(S'%s'\ntR." % str(marker).encode())


@pytest.mark.parametrize("write", [code_in_zip, code_in_legacy, code_bare, code_as_text])
def test_code_is_not_run(tmp_path: Path, write: Callable[[Path, Path], None]) -> None:
    path, marker = tmp_path / "w.pth", tmp_path / "marker"
    write(path, marker)
    with pytest.raises(BadData, match=r"holds code or objects \(posix\.mkdir\).*torch\.save\(model\.state_dict"):
        open_checkpoint(path)
    assert not marker.exists()


def test_the_code_would_run(tmp_path: Path) -> None:
    pickle.loads(code_by_module(tmp_path / "marker"))
    assert (tmp_path / "marker").exists(), "otherwise the test above shows nothing"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path)
    with pytest.raises(BadData, match="a TorchScript archive"):
        open_checkpoint(path)


def module(path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), path)


def numpy_scalar(path: Path) -> None:
    torch.save({"state_dict": tensors(weights()), "best": np.float64(1.0)}, path)


def a_list(path: Path) -> None:
    torch.save([1, 2], path)


def no_weights(path: Path) -> None:
    torch.save({"epoch": 1, "lr": 0.1}, path)


def zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", pickle.dumps({}, 2))
        archive.writestr("w/data/0", bytes(20_000_000))


def short_record(path: Path) -> None:
    torch.save(tensors(floats(weights())), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data[:8] if name.endswith("data/1") else data)


REFUSED: dict[str, tuple[bytes | Callable[[Path], None], str]] = {
    "module": (module, "holds code or objects"),
    "numpy": (numpy_scalar, "numpy objects"),
    "list": (a_list, "holds a list"),
    "no weights": (no_weights, "no state dict"),
    "zip bomb": (zip_bomb, "would unpack to"),
    "short record": (short_record, "storage 1 has 8 bytes where its pickle says 48"),
    "10 GB told": (MAGIC + tensor_pickle(2_500_000_000, 2_500_000_000) + NO_KEYS, "tensors would have 10000000000"),
    "8 GB grown": (MAGIC + tensor_pickle(4, 2_000_000_000) + ONE_KEY, "damaged"),
    "8 GB repeated": (MAGIC + tensor_pickle(4, 2_000_000_000, stride=0) + ONE_KEY, "more than the file holds"),
    "bytearray": (MAGIC + b"\x80\x02cbuiltins\nbytearray\n" + number(10**10) + b"\x85R." + NO_KEYS, "bytearray"),
    "deep": (MAGIC + b"\x80\x02})" + b"\x85" * 500_000 + b"K\x01s." + NO_KEYS, "nests 201 deep"),
    "doubling": (MAGIC + b"\x80\x02})" + b"q\x01h\x01\x86" * 60 + b"K\x01s." + NO_KEYS, "no checkpoint"),
    "empty": (b"", "no PyTorch checkpoint"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(300), "no PyTorch checkpoint"),
    "header": (struct.pack("<Q", 10**12) + b"{" + bytes(300), "its header would have"),
    "tar": (bytes(257) + b"ustar" + bytes(100), "a tar archive"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(tmp_path: Path, case: str) -> None:
    content, said = REFUSED[case]
    path = tmp_path / "w.pth"
    path.write_bytes(content) if isinstance(content, bytes) else content(path)
    with pytest.raises(BadData, match=said) as refusal:
        open_checkpoint(path)
    assert refusal.value.message.startswith(f"{path}: ")
    assert len(refusal.value.message.splitlines()) == 1


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    network = build("mobilenetv3_small_050", alpha=0.25, classes=3)
    arrays = write_timm(network.spec, state_arrays(network))
    for suffix in (".pth", ".safetensors"):
        write_checkpoint(folder / f"new{suffix}", arrays)
    torch.save({"state_dict": tensors(arrays)}, folder / "old.pth", _use_new_zipfile_serialization=False)
    return folder


@pytest.mark.parametrize("name", ["new.pth", "old.pth", "new.safetensors"])
def test_cut_short(files: Path, tmp_path: Path, name: str) -> None:
    whole = (files / name).read_bytes()
    path = tmp_path / name
    for share in (0.001, 0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(BadData):
            open_checkpoint(path)


def mutated(whole: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, most of them in the first or last 20 kB, where headers are; sometimes cut."""
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        near = rng.randrange(min(len(data), 20_000))
        at = rng.choice((near, len(data) - 1 - near, rng.randrange(len(data))))
        match rng.randrange(3):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at] ^= 1 << rng.randrange(8)
            case _:
                data[at : at + 4] = rng.choice((b"\xff\xff\xff\x7f", bytes(4), b"\xff" * 4, b"\x00\x00\x00\x80"))
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.15 else data)


@pytest.mark.parametrize("name", ["new.pth", "old.pth", "new.safetensors"])
def test_mutated_files(files: Path, tmp_path: Path, name: str) -> None:
    """Only errors of ours, in time; some files still open, so the mutations reach further than the first check."""
    whole = (files / name).read_bytes()
    path, rng, opened, lines = tmp_path / name, random.Random(10), 0, list[int]()
    read_state_dict(open_checkpoint(files / name).arrays, where=name)
    for _ in range(MUTATIONS // 3 + 1):
        path.write_bytes(mutated(whole, rng))
        start = time.process_time()
        try:
            found = open_checkpoint(path)
            read_state_dict(found.arrays, where=name, config=found.metadata)
            opened += 1
        except (BadData, CheckpointMismatch) as error:
            lines.append(len(error.message.splitlines()))
        assert time.process_time() - start < SLOWEST_S
    assert 0 < opened < MUTATIONS // 3
    assert set(lines) == {1}
