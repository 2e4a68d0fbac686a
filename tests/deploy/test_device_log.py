"""The device log: what is written is read back; what a person wrote is understood, or refused by file and line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mobilenets.deploy import append_log, read_log, this_machine
from mobilenets.deploy.device_log import rows_of
from mobilenets.errors import BadData, UsageError
from mobilenets.measure import cost
from mobilenets.records import Bench, BenchRow
from mobilenets.specs import resolve

HEADER = '{"mobilenets_log": 1, "device": "phone"}\n'


def row(network: str = "mobilenetv2", ms: float = 8.0) -> BenchRow:
    size, macs = (224, 224), cost(resolve(network)).macs
    return BenchRow(network, "onnx", "float32", 1, 1, ms, 9.0, 125.0, 14.0, 30.0, 20, size, macs, 12.0, alpha=1.0)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    bench = Bench(this_machine(), (row(), row("mobilenetv3_small", 2.0)))
    assert append_log(path, bench) == bench.machine.cpu
    assert append_log(path, bench, device="box", notes="fan off") == "box"
    first, second = read_log(path)
    assert (first.device, second.device, second.notes) == (bench.machine.cpu, "box", "fan off")
    assert first.machine == second.machine == bench.machine
    assert second.rows == tuple(replace(r, device="box") for r in bench.rows)


def test_a_row_by_hand_needs_three_keys(tmp_path: Path) -> None:
    path = tmp_path / "phone.jsonl"
    path.write_text(
        f'# adb shell ...\n{HEADER}\n{{"network": "mobilenetv2", "target": "litert", "median_ms": 11}}\n'
        '{"network": "mobilenetv1", "alpha": 0.5, "resolution_px": [160, 160], "target": "litert", "median_ms": 3.5}\n'
        '{"network": "my own", "target": "litert", "median_ms": 4, "top1": 0.93}\n'
    )
    (run,) = read_log(path)
    whole, half, own = run.rows
    assert (whole.precision, whole.threads, whole.batch, whole.p90_ms) == ("float32", 1, 1, 11.0)
    assert (whole.alpha, whole.resolution_px, whole.macs) == (1.0, (224, 224), cost(resolve("mobilenetv2")).macs)
    assert half.macs == cost(resolve("mobilenetv1", alpha=0.5, resolution_px=(160, 160))).macs
    assert (own.macs, own.top1, own.device) == (0, 0.93, "phone")


def test_logs_are_merged_by_joining_them_and_the_last_measurement_counts(tmp_path: Path) -> None:
    bench = Bench(this_machine(), (row(), row("mobilenetv3_small", 2.0)))
    for name, ms in (("a", 8.0), ("b", 80.0), ("a", 7.0)):
        append_log(tmp_path / f"{name}{ms}", replace(bench, rows=(row(ms=ms), *bench.rows[1:])), device=name)
    whole = tmp_path / "all"
    whole.write_text("".join((tmp_path / part).read_text() for part in ("a8.0", "b80.0", "a7.0")))
    runs = read_log(whole)
    assert [run.device for run in runs] == ["a", "b", "a"]
    name, rows = rows_of(runs, "a")
    assert (name, [r.median_ms for r in rows]) == ("a", [7.0, 2.0])
    with pytest.raises(UsageError, match="several devices: a, b"):
        rows_of(runs)
    with pytest.raises(UsageError, match="no device 'c'; it has a, b"):
        rows_of(runs, "c")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds nothing"),
        ("{}\n", "line 1: the first line must be a header"),
        ("PK\x03\x04\n", "line 1: not JSON"),
        ("[1]\n", "line 1: must be an object"),
        ('{"mobilenets_log": 2, "device": "x"}\n', "line 1: format 2 is newer than 1"),
        ('{"mobilenets_log": "one", "device": "x"}\n', "line 1: mobilenets_log is 'one'"),
        ('{"mobilenets_log": 1}\n', "line 1: the header names no device"),
        ('{"mobilenets_log": 1, "device": "x", "colour": 1}\n', "line 1: unknown key 'colour'"),
        (HEADER + '{"network": "a", "target": "onnx"}\n', "line 2: lacks median_ms"),
        (HEADER + '\n{"network": "a", "target": "onnx", "median_ms": 0}\n', "line 3: median_ms and batch must be"),
        (HEADER + '{"network": "a", "target": "onnx", "median_ms": "3"}\n', "line 2: median_ms"),
        (HEADER + '{"network": "a", "target": "onnx", "median_ms": 3, "treads": 2}\n', "line 2.*treads"),
    ],
)
def test_what_is_no_log_is_refused_by_file_and_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(BadData, match=words) as raised:
        read_log(path)
    assert str(path) in raised.value.message
    with pytest.raises(BadData):
        append_log(path, Bench(this_machine(), (row(),)))
    assert path.read_text() == text, "what is no log is not touched"


def test_a_line_that_lost_its_end_does_not_swallow_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(HEADER.strip())
    append_log(path, Bench(this_machine(), (row(),)), device="box")
    assert [run.device for run in read_log(path)] == ["phone", "box"]
    assert all(isinstance(json.loads(line), dict) for line in path.read_text().splitlines())
    with pytest.raises(UsageError, match="can't be read"):
        read_log(tmp_path / "missing")
