"""Timing: candidates take turns, numbers are what they say, time limits hold; machine and doctor tell what is here."""

import time
from pathlib import Path

import numpy as np
import pytest
from deploy.conftest import Trained, tiny_spec

from mobilenets.bundle import copy_model
from mobilenets.codec import from_json, to_json
from mobilenets.deploy import bench, bench_models, diagnose, this_machine, time_untrained
from mobilenets.deploy.bench import Contender, Series
from mobilenets.deploy.doctor import Diagnosis
from mobilenets.deploy.targets import TARGETS
from mobilenets.errors import BadModelFile, UnknownName, UsageError
from mobilenets.records import Bench, Machine


def test_files_and_networks_in_one_run(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))
    copy_model(trained.model, tmp_path / "model.zip")
    bare = tmp_path / "bare.onnx"
    bare.write_bytes(trained.model.read("onnx/model.onnx"))
    seen: list[tuple[int, int]] = []
    result = bench_models(
        [trained.model.path, tmp_path / "model.zip", bare],
        threads=(1, 2),
        batches=(1, 4),
        rounds=4,
        warmup=1,
        on_progress=lambda *at: seen.append(at),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(result.rows) == 3 * 2 * 2
    assert [(row.network, row.threads, row.batch) for row in result.rows[:4]] == [
        ("pets", 1, 1),
        ("pets", 1, 4),
        ("pets", 2, 1),
        ("pets", 2, 4),
    ]
    for row in result.rows:
        assert (row.target, row.precision, row.rounds) == ("onnx", "float32", 4)
        assert 0 < row.median_ms <= row.p90_ms
        assert row.images_per_s == pytest.approx(row.batch * 1e3 / row.median_ms)
        assert row.load_ms > 0
    assert result.rows[0].file_mb == bare.stat().st_size / 1e6
    assert result.aa_spread >= 1.0
    assert from_json(Bench, to_json(result)) == result


class Slow:
    """A session that takes the time it is told."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(self, batch: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds)
        return batch


def series(seconds: float) -> Series:
    contender = Contender("slow", TARGETS["onnx"], "float32", Path("x"))
    return Series(contender, 1, 2, Slow(seconds), 0.0, np.zeros(1))


def test_what_is_slower_reads_slower() -> None:
    both = [series(0.002), series(0.006)]
    bench._take_turns(both, 10, 1, 60.0, 0, None)
    fast, slow = (bench._row(one, 1.0) for one in both)
    assert fast.median_ms >= 2.0
    assert slow.median_ms >= 6.0
    assert slow.images_per_s < fast.images_per_s
    assert len(both[0].times_ms) == 10, "warm-up turns are not counted"


def test_the_time_limit_ends_the_rounds() -> None:
    one = series(0.02)
    bench._take_turns([one], 1000, 1, 0.2, 0, None)
    assert 3 <= len(one.times_ms) <= 15
    slow = series(0.02)
    bench._take_turns([slow], 1000, 1, 0.0, 0, None)
    assert len(slow.times_ms) == 3


def test_choosing_asks_for_two_numbers() -> None:
    median_ms, file_mb = time_untrained(tiny_spec(), max_seconds=0.5)
    assert 0 < median_ms < 1000
    assert 0.01 < file_mb < 1


def test_wrong_asks_are_refused(trained: Trained, tmp_path: Path) -> None:
    for wrong in ({"threads": (0,)}, {"batches": ()}, {"rounds": 0}):
        with pytest.raises(UsageError, match="must be at least 1"):
            bench_models([trained.model.path], **wrong)
    with pytest.raises(UsageError, match="sources"):
        bench_models([])
    with pytest.raises(UnknownName, match="mobilenetv2"):
        bench_models(["mobilenetv22"])
    with pytest.raises(UnknownName, match="onnx"):
        bench_models([trained.model.path], targets=("onx",))
    with pytest.raises(UsageError, match="no such file"):
        bench_models([tmp_path / "missing.onnx"])
    (tmp_path / "bad.zip").write_bytes(b"PK")
    for wrong_file in (tmp_path / "bad.zip", tmp_path, str(tmp_path), tmp_path / "missing.zip"):
        with pytest.raises(BadModelFile):
            bench_models([wrong_file])


def test_this_machine_is_told() -> None:
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.memory_gb > 0.1
    assert machine.versions["numpy"] == np.__version__
    assert machine.cpu != ""
    assert from_json(Machine, to_json(machine)) == machine


def test_instruction_sets_are_read_from_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "processor\t: 0\nmodel name\t: AMD  EPYC\nflags\t\t: fpu avx2 avx512_vnni avx512f\n\nprocessor\t: 1\n"
    read = Path.read_text

    def kernel(self: Path, encoding: str | None = None, errors: str | None = None) -> str:
        return text if self == Path("/proc/cpuinfo") else read(self, encoding, errors)

    monkeypatch.setattr(Path, "read_text", kernel)
    machine = this_machine()
    assert machine.cpu == "AMD EPYC"
    assert machine.isa == ("avx2", "avx512", "avx512_vnni")


def test_doctor_runs_what_it_says_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = diagnose()
    assert found.targets.keys() == TARGETS.keys()
    assert (found.targets["onnx"].installed, found.targets["onnx"].runs, found.targets["onnx"].hint) == (True, True, "")
    assert from_json(Diagnosis, to_json(found)) == found
    monkeypatch.setattr("mobilenets.deploy.onnx._PROBE", b"damaged")
    broken = diagnose().targets["onnx"]
    assert (broken.installed, broken.runs) == (True, False)
    assert "ONNX Runtime does not run" in broken.hint
    monkeypatch.setattr("mobilenets.deploy.doctor.has_module", lambda name: name != "onnxruntime")
    missing = diagnose().targets["onnx"]
    assert (missing.installed, missing.runs) == (False, False)
    assert missing.hint.startswith("pip install")
