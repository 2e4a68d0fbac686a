"""Every network that timm or torchvision has too: their state dict through a file to ours and back, bit for bit."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models.warmed import gap, randomise
from parity.pairs import Pair, timm_pairs, torchvision_pairs

from mobilenets.models import build, load_exact
from mobilenets.models.weights.checkpoint import open_checkpoint, write_checkpoint
from mobilenets.models.weights.read import Read
from mobilenets.models.weights.state_dict import read_state_dict
from mobilenets.models.weights.timm import write_timm
from mobilenets.models.weights.torchvision import write_torchvision

pytestmark = pytest.mark.peer
SAME_FRAMEWORK_FP32 = 1e-5
"""The same sums in another order, relative to the largest logit."""
IN_A_NEW_PROCESS = (
    "timm-mobilenetv1_100", "timm-mobilenetv2_050", "timm-tf_mobilenetv3_small_100", "timm-mobilenet_edgetpu_v2_xs",
    "timm-mobilenetv4_conv_small_050", "torchvision-mobilenet_v2-0.35", "torchvision-mobilenet_v3_small-1",
    "torchvision-mnasnet0_5",
)  # fmt: skip


def all_pairs() -> tuple[Pair, ...]:
    return (*timm_pairs(), *torchvision_pairs())


def state(pair: Pair, seed: int = 0) -> dict[str, np.ndarray]:
    torch.manual_seed(seed)
    model = pair.theirs()
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def written(pair: Pair, read: Read) -> dict[str, np.ndarray]:
    return dict((write_timm if pair.name.startswith("timm") else write_torchvision)(read.spec, read.arrays))


def bits_differ(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> list[str]:
    """Names whose arrays are not the same bytes, of the same type and shape; counters of batches start anew."""

    def differs(name: str) -> bool:
        x, y = a.get(name), b.get(name)
        if x is None or y is None or (x.dtype, x.shape) != (y.dtype, y.shape):
            return True
        return not name.endswith("num_batches_tracked") and x.tobytes() != y.tobytes()

    return [name for name in a.keys() | b.keys() if differs(name)]


@pytest.mark.slow
@pytest.mark.parametrize("pair", all_pairs(), ids=lambda pair: pair.name)
def test_there_and_back(tmp_path: Path, pair: Pair) -> None:
    theirs = state(pair)
    for suffix in (".safetensors", ".pth"):
        path = tmp_path / f"w{suffix}"
        write_checkpoint(path, theirs)
        read = read_state_dict(open_checkpoint(path).arrays, where=str(path))
        assert not read.left_out
        again = written(pair, read)
        assert not bits_differ(theirs, again)
        assert list(again) == list(theirs), "in their order"
    again[next(iter(again))] = np.nextafter(again[next(iter(again))], np.float32(9))
    assert bits_differ(theirs, again), "one bit must show"


SCRIPT = """
import json, sys, torch
sys.path.insert(0, sys.argv[3])
torch.set_num_threads(int(sys.argv[4]))
from parity.pairs import timm_pairs, torchvision_pairs
from safetensors.torch import load_file
pairs = {pair.name: pair for pair in (*timm_pairs(), *torchvision_pairs())}
found = {}
for name, file, image in json.loads(sys.argv[1]):
    model = pairs[name].theirs()
    state = torch.load(file, weights_only=True) if file.endswith(".pth") else load_file(file)
    model.load_state_dict(state, strict=True)
    with torch.inference_mode():
        found[name] = model.eval()(torch.load(image, weights_only=True))
torch.save(found, sys.argv[2])
"""


@pytest.mark.slow
def test_they_load_what_we_write(tmp_path: Path) -> None:
    """In a new process, strictly, from a file that our own network was written to; logits equal theirs bit for bit."""
    pairs = [pair for pair in all_pairs() if pair.name in IN_A_NEW_PROCESS]
    assert len(pairs) == len(IN_A_NEW_PROCESS)
    image = tmp_path / "image.pt"
    x = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    torch.save(x, image)
    told, want = [], {}
    for i, pair in enumerate(pairs):
        model = randomise(pair.theirs(), side_px=64)
        # MnasNet takes no state dict without its version, which only torch's own format keeps.
        path = tmp_path / f"{pair.name}{'.pth' if i % 2 or 'mnasnet' in pair.name else '.safetensors'}"
        arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        read = read_state_dict(arrays, where=pair.name)
        write_checkpoint(path, written(pair, read))
        with torch.inference_mode():
            want[pair.name] = model.eval()(x)
        told.append((pair.name, str(path), str(image)))
    out, tests = tmp_path / "out.pt", Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", SCRIPT, json.dumps(told), str(out), str(tests), str(torch.get_num_threads())]
    subprocess.run(command, check=True, timeout=300)
    found = torch.load(out, weights_only=True)
    for name, logits in want.items():
        assert torch.equal(found[name], logits), name
        assert not torch.equal(found[name], logits + 1e-6), "a small change must show"


GOOGLE = [pair for pair in timm_pairs() if pair.name.startswith("timm-tf_")]


@pytest.mark.parametrize("pair", GOOGLE, ids=lambda pair: pair.name)
def test_google_padding_and_eps(pair: Pair) -> None:
    theirs = randomise(pair.theirs(), side_px=64)
    arrays = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    read = read_state_dict(arrays, where="file", name=pair.name.removeprefix("timm-"))
    ours = build(read.spec).eval()
    load_exact(ours, read.arrays)
    images = [torch.randn(1, 3, *size) for size in ((64, 64), (97, 130))]
    with torch.inference_mode():
        assert max(gap(theirs(x), ours(x)) for x in images) <= SAME_FRAMEWORK_FP32
    twin = build(replace(read.spec, padding="symmetric")).eval()
    load_exact(twin, read.arrays)
    with torch.inference_mode():
        assert max(gap(theirs(x), twin(x)) for x in images) > 10 * SAME_FRAMEWORK_FP32, "other padding must show"
