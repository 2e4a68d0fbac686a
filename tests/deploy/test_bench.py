"""Timing: candidates take turns, numbers are what they say, time limits hold; machine and doctor tell what is here."""

import logging
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from deploy.conftest import Trained, tiny_spec

from mobilenets.bundle import copy_model
from mobilenets.codec import from_json, to_json
from mobilenets.deploy import bench, bench_models, diagnose, evaluate_model, this_machine, time_untrained, tracing
from mobilenets.deploy.bench import Series
from mobilenets.deploy.contenders import Contender, noise_for
from mobilenets.deploy.doctor import Diagnosis
from mobilenets.deploy.memory import peak_memory_mb
from mobilenets.deploy.targets import TARGETS
from mobilenets.errors import BadModelFile, MissingRuntime, UnknownName, UsageError
from mobilenets.measure import cost
from mobilenets.records import Bench, BenchRow, LeftOut, Machine
from mobilenets.report.tradeoff import tradeoff_picture
from mobilenets.specs import published_top1, resolve


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


def test_a_row_says_what_the_file_costs_and_gets_right(trained: Trained, tmp_path: Path) -> None:
    result = bench_models([trained.model.path], rounds=3, warmup=1, memory=True, data=trained.dataset, split="val")
    (row,) = result.rows
    assert row.macs == cost(trained.spec).macs
    assert (row.resolution_px, row.alpha, row.quoted_top1) == ((32, 32), trained.spec.alpha, None)
    assert row.top1 == evaluate_model(trained.model.path, trained.dataset, split="val").top1
    assert 0 < row.peak_memory_mb < 100
    assert row.aa_spread == result.aa_spread
    foreign = onnx.load_from_string(trained.model.read("onnx/model.onnx"))
    foreign.ClearField("metadata_props")
    onnx.save(foreign, tmp_path / "foreign.onnx")
    (bare,) = bench_models([tmp_path / "foreign.onnx"], rounds=1, warmup=1).rows
    assert (bare.network, bare.macs, bare.top1) == ("foreign.onnx", 0, None)
    with pytest.raises(UsageError, match="was trained"):
        bench_models([tmp_path / "foreign.onnx"], rounds=1, warmup=1, data=trained.dataset)


def test_memory_grows_with_the_batch_and_is_0_where_it_was_not_measured(
    trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = trained.model.local("onnx/model.onnx")
    one, many = (peak_memory_mb("onnx", path, batch=batch, size_px=(32, 32)) for batch in (1, 256))
    assert 0 < one < many
    assert many - one > 256 * 3 * 32 * 32 * 4 / 1e6, "at least the input itself"
    with caplog.at_level(logging.WARNING):
        assert peak_memory_mb("onnx", tmp_path / "missing.onnx", size_px=(32, 32)) == 0.0
    assert "missing.onnx: its memory was not measured" in caplog.text


def test_one_trace_serves_every_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = []
    trace = tracing._traced

    def counted(*args: object, **kwargs: object) -> object:
        traced.append(args)
        return trace(*args, **kwargs)

    monkeypatch.setattr(tracing, "_traced", counted)
    result = bench_models([tiny_spec()], precisions=("all",), rounds=1, warmup=1)
    assert [row.precision for row in result.rows] == list(TARGETS["onnx"].precisions)
    assert len(traced) == 1
    assert result.rows[1].file_mb < 0.9 * result.rows[0].file_mb


def test_what_can_not_be_timed_is_left_out_with_its_reason(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    result = bench_models([trained.model.path], targets=("onnx", "executorch"), rounds=1, warmup=1)
    assert [row.target for row in result.rows] == ["onnx"]
    assert result.skipped == (LeftOut("", "executorch", "", "ExecuTorch does not run on win32"),)
    whole = bench_models([trained.model.path], targets=("all",), rounds=1, warmup=1)
    assert [row.target for row in whole.rows] == ["onnx"]
    left = {s.target for s in whole.skipped}
    assert left == set(TARGETS) - {"onnx"}, "held by no file, or not running here: either is said"
    with pytest.raises(MissingRuntime, match="ExecuTorch does not run on win32"):
        bench_models([trained.model.path], targets=("executorch",))
    with pytest.raises(UsageError, match="is in float32"):
        bench_models([trained.model.path], precisions=("float16",))
    with pytest.raises(UsageError, match="no target has a precision 'int4'"):
        bench_models([trained.model.path], precisions=("int4",))


def test_a_bare_file_counts_whatever_targets_are_asked_for(trained: Trained) -> None:
    path = trained.model.local("onnx/model.onnx")
    assert bench_models([path], targets=("litert",), rounds=1, warmup=1).rows[0].target == "onnx"


class Fed:
    """A session of which only the input is asked."""

    def __init__(self, shape: tuple[int | None, ...], dtype: type) -> None:
        self.input_shape, self.input_dtype = shape, np.dtype(dtype)


def test_noise_fits_what_a_file_is_fed() -> None:
    floats = noise_for(Fed((None, 3, 32, 48), np.float32), 2, (0, 0))
    assert (floats.shape, floats.dtype) == ((2, 3, 32, 48), np.float32)
    pixels = noise_for(Fed((1, None, None, 3), np.uint8), 1, (40, 56))
    assert (pixels.shape, pixels.dtype) == ((1, 40, 56, 3), np.uint8)
    assert pixels.max() > 200
    with pytest.raises(UsageError, match="any size"):
        noise_for(Fed((None, 3, None, None), np.float32), 1, (0, 0))


def drawn(**changed: object) -> BenchRow:
    row = BenchRow("mobilenetv2", "onnx", "float32", 1, 1, 8.0, 9.0, 125.0, 14.0, macs=300, resolution_px=(224, 224))
    return replace(row, **changed)


def test_the_picture_says_which_accuracy_it_shows() -> None:
    machine = Machine("cpu <&>", 2, 8.0, "Linux", "3.11")
    slow, fast = drawn(), drawn(network="mobilenetv3_small", median_ms=2.0, macs=60)
    for rows, words in (
        ((replace(slow, top1=0.9), replace(fast, top1=0.8)), "top-1, measured"),
        ((replace(slow, quoted_top1=0.718), replace(fast, quoted_top1=0.674)), "as published (not measured here)"),
        ((replace(slow, top1=0.9), replace(fast, quoted_top1=0.674)), "MACs"),
    ):
        root = ElementTree.fromstring(tradeoff_picture(Bench(machine, rows)))
        text = "".join(root.itertext())
        assert words in text
        assert "cpu <&>" in text
        places = {
            dot[0].text.split(",")[0]: (float(dot[1].get("cx")), float(dot[1].get("cy")))
            for dot in root.iter("{http://www.w3.org/2000/svg}g")
        }
        (slow_x, slow_y), (fast_x, fast_y) = places["mobilenetv2"], places["mobilenetv3_small"]
        assert slow_x > fast_x
        assert slow_y < fast_y, "higher up is more accurate (or heavier)"


def test_published_accuracy_is_quoted_for_the_network_alone() -> None:
    spec = tiny_spec()
    named = Contender("x", TARGETS["onnx"], "float32", Path("x"), spec, (224, 224), trained=False)
    assert bench._quoted(named) is None, "a network of one's own was never published"
    assert bench._quoted(replace(named, spec=replace(spec, name="mobilenetv3_small", alpha=1.0))) is None
    known = replace(named, spec=resolve("mobilenetv3_small", classes=10))
    assert bench._quoted(known) == published_top1("mobilenetv3_small", 1.0, 224)
    assert bench._quoted(replace(known, trained=True)) is None


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
