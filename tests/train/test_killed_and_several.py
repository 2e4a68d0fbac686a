"""A run killed with SIGKILL and resumed ends as the run left alone, to the bit; two processes end as one does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


def command(pictures: Path, run: Path, how: dict[str, object], *, processes: int = 1) -> list[str]:
    options = {"epochs": 6, "resume": False, "exact": True, "frozen": False, "micro_batches": 1} | how
    script = [str(HERE / "one_run.py"), str(pictures), str(run), json.dumps(options)]
    if processes == 1:
        return [sys.executable, *script]
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *script
    ]  # fmt: skip


def finish(line: list[str]) -> None:
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=300, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run / f"{name}.safetensors")


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Over all tensors but the count of batches seen, which nothing reads; relative to the largest value of each."""
    assert a.keys() == b.keys()
    kept = [key for key in a if not key.endswith("num_batches_tracked")]
    return max(float((a[k] - b[k]).abs().max() / b[k].abs().max().clamp(min=1e-6)) for k in kept)


@pytest.mark.parametrize("kill_after", [4, 8, 13])
def test_killed_mid_epoch_and_resumed_ends_the_same_to_the_bit(pictures: Path, tmp_path: Path, kill_after: int) -> None:
    finish(command(pictures, tmp_path / "alone", {}))
    line = command(pictures, tmp_path / "killed", {})
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            if text == f"step {kill_after}\n":  # three steps make an epoch: none of these ends one
                process.send_signal(signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "training.json").exists()
    finish(command(pictures, tmp_path / "killed", {"resume": True}))
    for name in ("last", "best"):
        alone, killed = weights(tmp_path / "alone", name), weights(tmp_path / "killed", name)
        assert alone.keys() == killed.keys()
        assert [key for key in alone if not torch.equal(alone[key], killed[key])] == []
    rows = [(tmp_path / run / "results.csv").read_text().splitlines() for run in ("alone", "killed")]
    assert [row.split(",")[:2] for row in rows[0]] == [row.split(",")[:2] for row in rows[1]]


def test_another_length_is_another_result(pictures: Path, tmp_path: Path) -> None:
    """The twin of the above: the comparison would see a difference."""
    finish(command(pictures, tmp_path / "six", {"epochs": 6}))
    finish(command(pictures, tmp_path / "five", {"epochs": 5}))
    six, five = weights(tmp_path / "six"), weights(tmp_path / "five")
    assert [key for key in six if not torch.equal(six[key], five[key])]


def test_two_processes_with_frozen_statistics_equal_one(pictures: Path, tmp_path: Path) -> None:
    how: dict[str, object] = {"exact": False, "frozen": True, "epochs": 2}
    finish(command(pictures, tmp_path / "one", how))
    finish(command(pictures, tmp_path / "two", how, processes=2))
    assert largest_difference(weights(tmp_path / "two"), weights(tmp_path / "one")) < 1e-4


def test_two_processes_with_live_statistics_equal_two_micro_batches(pictures: Path, tmp_path: Path) -> None:
    how: dict[str, object] = {"exact": False, "frozen": False, "epochs": 2}
    finish(command(pictures, tmp_path / "parts", how | {"micro_batches": 2}))
    finish(command(pictures, tmp_path / "two", how, processes=2))
    finish(command(pictures, tmp_path / "whole", how))
    two = weights(tmp_path / "two")
    assert largest_difference(two, weights(tmp_path / "parts")) < 1e-3
    assert largest_difference(two, weights(tmp_path / "whole")) > 1e-2  # one batch is not two half ones
