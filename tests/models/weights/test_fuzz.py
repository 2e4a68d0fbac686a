"""Two thousand damaged files of every format: each ends in a network or in one of our errors, soon, in little memory.

Seed 7. A third are damaged anywhere, a third behind the first third of the file (its header stays whole), a third in
words of four bytes that are set to extreme numbers; some are cut short.
"""

import resource
import struct
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from models.weights.made_onnx import SMALL_V2, network, unfolded
from models.weights.test_tf_checkpoint import write as write_tf_checkpoint
from safetensors.numpy import save_file

from mobilenets.errors import MobilenetsError
from mobilenets.models import build, load_exact, state_arrays
from mobilenets.models.weights.formats import read_file
from mobilenets.models.weights.timm import write_timm
from mobilenets.specs import resolve

SEED = 7
MOST_SECONDS, MOST_BYTES = 10.0, 1_000_000_000
EXTREMES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FC00000, 0x7F800000, 0x00000001, 0x00010000, 0x40000000)
# Format -> (quick, all): a Keras file is read in a process of its own, so it gets fewer.
COUNTS = {
    "x.tflite": (12, 420), "x.onnx": (12, 420), "x.xml": (4, 120), "x.safetensors": (10, 300), "x.pth": (8, 260),
    "old.pth": (6, 160), "x.npz": (6, 140), "x.index": (6, 80), "x.h5": (2, 100),
}  # fmt: skip


def files(folder: Path, shared: Path | None) -> dict[str, Path]:
    """One whole file of each format that can be made here."""
    folder.mkdir()
    small = resolve("mobilenetv3_small_050", classes=4)
    arrays = {name: a.copy() for name, a in write_timm(small, state_arrays(build(small))).items()}
    save_file(arrays, folder / "x.safetensors")
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    torch.save({"state_dict": tensors, "epoch": 3}, folder / "x.pth")
    torch.save({"state_dict": tensors}, folder / "old.pth", _use_new_zipfile_serialization=False)
    (folder / "x.onnx").write_bytes(unfolded(network(SMALL_V2)))
    variables = {f"MobilenetV1/Conv2d_{i}/weights": np.ones((3, 3, 4, 4), np.float32) for i in range(6)}
    np.savez(folder / "x.npz", **variables)
    write_tf_checkpoint(folder / "x", variables)
    found = {name: folder / name for name in COUNTS if (folder / name).is_file()}
    if shared is not None:
        weights = shared / "weights" / "mlperf-tiny"
        found |= {"x.tflite": weights / "vww_96_int8.tflite", "x.h5": weights / "vww_96.h5"}
    return found | openvino(folder)


def openvino(folder: Path) -> dict[str, Path]:
    """An IR, where OpenVINO is installed to write one."""
    try:
        import openvino as ov
    except ModuleNotFoundError:
        return {}
    ov.save_model(ov.convert_model(str(folder / "x.onnx")), str(folder / "x.xml"))
    return {"x.xml": folder / "x.xml"}


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    broken = bytearray(data)
    start = len(broken) // 3 if rng.random() < 1 / 3 else 0
    for _ in range(int(rng.integers(1, 9))):
        at = int(rng.integers(start, max(len(broken) - 4, start + 1)))
        if rng.random() < 1 / 3:
            broken[at : at + 4] = struct.pack("<I", EXTREMES[rng.integers(len(EXTREMES))])
        else:
            broken[at] = int(rng.integers(256))
    return bytes(broken[: int(rng.integers(len(broken)))]) if rng.random() < 0.1 else bytes(broken)


def outcome(path: Path) -> str:
    try:
        read = read_file(path)
    except MobilenetsError as refusal:
        told = refusal
    else:
        load_exact(build(read.spec), read.arrays)
        return "read"
    assert "\n" not in told.message
    return type(told).__name__


def run(folder: Path, shared: Path | None, column: int) -> dict[str, Counter[str]]:
    rng = np.random.default_rng(SEED)
    found: dict[str, Counter[str]] = {}
    for name, whole in files(folder / "whole", shared).items():
        place = folder / name.replace(".", "_")
        place.mkdir()
        beside = [whole.with_suffix(".bin")] if name == "x.xml" else sorted(whole.parent.glob("x.data-*"))
        if name in ("x.xml", "x.index"):
            for file in beside:
                (place / file.name).write_bytes(file.read_bytes())
        data, counts = whole.read_bytes(), Counter[str]()
        if name not in ("x.npz", "x.index"):  # a handful of variables, and no network
            assert outcome(whole) == "read", name
        for number in range(COUNTS[name][column]):
            path = place / whole.name
            path.write_bytes(damaged(data, rng))
            begun = time.perf_counter()
            try:
                counts[outcome(path)] += 1
            except Exception as error:
                raise AssertionError(f"{name}, mutation {number} of seed {SEED}: {type(error).__name__}") from error
            assert time.perf_counter() - begun < MOST_SECONDS, f"{name}, mutation {number} of seed {SEED}"
        found[name] = counts
    return found


def peak_bytes() -> int:
    """Of this process and its children, in Linux's kilobytes."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return 1024 * max(resource.getrusage(kind).ru_maxrss for kind in kinds)


def shared_or_none() -> Path | None:
    """../shared, where it is beside the checkout: without it the formats that nothing here can write are left out."""
    folder = Path(__file__).resolve().parents[4] / "shared"
    return folder if folder.is_dir() else None


def test_some_damaged_files(tmp_path: Path) -> None:
    found = run(tmp_path, shared_or_none(), 0)
    assert sum(counts.total() for counts in found.values()) >= 40
    assert any(count for counts in found.values() for kind, count in counts.items() if kind != "read")


@pytest.mark.slow
def test_two_thousand_damaged_files(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.perf_counter()
    before = peak_bytes()
    found = run(tmp_path, shared, 1)
    seconds = time.perf_counter() - begun
    with capsys.disabled():
        for name, counts in found.items():
            print(f"\n{name}: {dict(counts)}", end="")  # noqa: T201
        print(f"\n{seconds:.0f} s, peak {peak_bytes() / 1e6:.0f} MB ({before / 1e6:.0f} before)")  # noqa: T201
    assert sum(counts.total() for counts in found.values()) >= 1880, "2000 where OpenVINO is installed"
    assert seconds < 900
    assert max(peak_bytes() - before, 0) < MOST_BYTES
