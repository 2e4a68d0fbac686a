"""Advice: what fits is ranked by accuracy, what does not is told by how much, and numbers are never mixed up."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from deploy.conftest import Trained

from mobilenets.cli import main
from mobilenets.codec import from_json, to_json
from mobilenets.deploy import Budget, Option, advise_from_log, advise_networks, append_log, options, this_machine
from mobilenets.deploy.advise import _foretold_ms, _next
from mobilenets.deploy.choose import estimated_top1
from mobilenets.deploy.device_log import DeviceRun
from mobilenets.errors import BudgetMissed, UsageError
from mobilenets.records import Advice, Bench, BenchRow
from mobilenets.specs import published_top1


def row(network: str, ms: float, *, alpha: float = 1.0, side: int = 224, mb: float = 10.0, **more: object) -> BenchRow:
    plain = BenchRow(network, "onnx", "float32", 1, 1, ms, ms, 1e3 / ms, mb, macs=1, resolution_px=(side, side))
    return replace(plain, alpha=alpha, **more)


RUN = DeviceRun(
    "board",
    (
        row("mobilenetv1", 9.0, mb=17.0),
        row("mobilenetv2", 7.0, mb=14.0, peak_memory_mb=30.0),
        row("mobilenetv3_small", 2.0, peak_memory_mb=12.0),
        row("mobilenetv3_small", 1.5, side=192),
        row("mobilenetv3_large", 6.0, mb=22.0),
        row("mobilenetv2", 3.0, batch=8),
    ),
)


def names(rows: tuple[BenchRow, ...]) -> list[tuple[str, float]]:
    return [(r.network, r.median_ms) for r in rows]


def test_the_best_published_accuracy_that_fits_comes_first() -> None:
    advice = advise_from_log([RUN], Budget(max_latency_ms=7.0))
    assert names(advice.rows) == [
        ("mobilenetv3_large", 6.0),
        ("mobilenetv2", 7.0),
        ("mobilenetv3_small", 2.0),
        ("mobilenetv3_small", 1.5),
    ]
    best, *_, small = advice.rows
    assert (best.top1, best.quoted_top1) == (None, published_top1("mobilenetv3_large", 1.0, 224))
    assert (small.quoted_top1, small.estimated_top1) == (None, estimated_top1("mobilenetv3_small", 1.0, (192, 192)))
    assert small.estimated_top1 < 0.674
    (miss,) = advice.misfits
    assert (miss.row.network, miss.over_ms, miss.over_mb) == ("mobilenetv1", 2.0, 0.0)
    assert advice.device == "board"
    assert from_json(Advice, to_json(advice)) == advice


def test_every_limit_counts_and_a_missing_number_does_not_fit() -> None:
    light = advise_from_log([RUN], Budget(max_latency_ms=8.0, max_mb=14.0))
    assert names(light.rows)[0] == ("mobilenetv2", 7.0)
    assert names(tuple(m.row for m in light.misfits)) == [("mobilenetv1", 9.0), ("mobilenetv3_large", 6.0)]
    small = advise_from_log([RUN], Budget(max_ram_mb=20.0))
    assert names(small.rows) == [("mobilenetv3_small", 2.0)]
    by_name = {(m.row.network, m.row.median_ms): m for m in small.misfits}
    assert by_name["mobilenetv2", 7.0].over_ram_mb == 10.0
    assert by_name["mobilenetv1", 9.0].unknown == ("max_ram_mb",)
    assert small.misfits[0].row.network == "mobilenetv2", "unknown ones are never the closest"


def test_accuracy_on_the_users_data_comes_before_published_accuracy() -> None:
    own = replace(row("pets", 5.0), alpha=None, top1=0.6)
    advice = advise_from_log([replace(RUN, rows=(*RUN.rows, own))], Budget(max_latency_ms=7.0))
    assert advice.rows[0] == own


def test_what_is_not_asked_for_is_not_judged() -> None:
    other = replace(row("mobilenetv3_large", 1.0), target="litert", precision="float16", threads=2)
    runs = [replace(RUN, rows=(*RUN.rows, other))]
    budget = Budget(max_latency_ms=7.0)
    assert advise_from_log(runs, budget).rows[0] == replace(other, quoted_top1=0.752)
    for chosen in ({"targets": ("onnx",)}, {"precisions": ("float32",)}, {"threads": 1}):
        assert names(advise_from_log(runs, budget, **chosen).rows)[0] == ("mobilenetv3_large", 6.0)
    assert names(advise_from_log(runs, budget, networks=("mobilenetv2",)).rows) == [("mobilenetv2", 7.0)]
    with pytest.raises(UsageError, match="no such row"):
        advise_from_log(runs, budget, targets=("openvino",))


def test_nothing_fits_names_the_closest() -> None:
    with pytest.raises(
        BudgetMissed, match=r"no network fits 1 ms on board; closest: mobilenetv3_small alpha 1 at 192x192"
    ):
        advise_from_log([RUN], Budget(max_latency_ms=1.0))
    with pytest.raises(BudgetMissed, match=r"with 1.5 ms \(0.5 ms over\)"):
        advise_from_log([RUN], Budget(max_latency_ms=1.0))
    with pytest.raises(UsageError, match="say what must fit"):
        Budget()
    with pytest.raises(UsageError, match="max_mb must be positive"):
        Budget(max_mb=0.0)


def test_what_is_tried_next_is_the_best_that_is_foretold_to_fit() -> None:
    def option(network: str, macs: int, merit: float) -> Option:
        return Option(network, 1.0, (224, 224), macs, merit, 10.0)

    small, middle, large = option("a", 50, 0.6), option("a", 100, 0.7), option("a", 400, 0.8)
    grid = (large, middle, small)
    budget = Budget(max_latency_ms=8.0)
    assert _next(grid, [], budget) == middle, "the middle tells the speed of the machine"
    timed = [(middle, (row("a", 4.0),))]
    assert _foretold_ms(large, timed) == 16.0
    assert _next((large, small), timed, budget) == small
    assert _next((large, small), timed, Budget(max_latency_ms=16.0)) == large
    assert _next((large,), timed, budget) is None
    assert _next(grid, [], Budget(max_mb=20.0)) == large, "without a limit of time the best is tried first"


def test_measured_here() -> None:
    steps: list[str] = []
    one = {"networks": ("mobilenetv1",), "alphas": (0.25,), "sizes_px": ((32, 32),), "classes": 10}
    advice = advise_networks(Budget(max_latency_ms=1e3, max_ram_mb=1e3), minutes=0.01, on_step=steps.append, **one)
    (best,) = advice.rows
    assert (best.network, best.alpha, best.resolution_px) == ("mobilenetv1", 0.25, (32, 32))
    assert best.macs == options(**one)[0].macs
    assert best.peak_memory_mb > 0
    assert (best.top1, best.quoted_top1) == (None, None)
    assert best.estimated_top1 == estimated_top1("mobilenetv1", 0.25, (32, 32))
    assert (steps, advice.untried) == (["measuring mobilenetv1 alpha 0.25 at 32x32"], 0)
    with pytest.raises(UsageError, match="published"):
        advise_networks(Budget(max_latency_ms=5.0), networks=("mobilenetv1",), alphas=(0.31,))
    with pytest.raises(BudgetMissed, match="weighs"):
        advise_networks(Budget(max_mb=0.01), **one)


def test_the_command_reads_a_log(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.jsonl"
    assert main(["bench", str(trained.model.path), "--rounds", "3", "--no-memory", "--log", str(log), "--threads",
                 "1,2", "--device", "box", "--picture", str(tmp_path / "p.svg"), "--json"]) == 0  # fmt: skip
    benched = json.loads(capsys.readouterr().out)
    assert [r["threads"] for r in benched["rows"]] == [1, 2]
    assert (tmp_path / "p.svg").read_text().startswith("<svg")
    assert main(["advise", "--log", str(log), "--max-latency-ms", "10000", "--json"]) == 0
    advised = json.loads(capsys.readouterr().out)
    assert advised["device"] == "box"
    assert advised["rows"][0].keys() == benched["rows"][0].keys()
    assert main(["advise", "--log", str(log), "--max-latency-ms", "0.000001"]) == 1
    assert "closest: pets" in capsys.readouterr().err
    append_log(log, Bench(this_machine(), (row("mobilenetv2", 3.0),)), device="other")
    assert main(["advise", "--log", str(log), "--max-latency-ms", "9"]) == 2
    assert "name one with --device" in capsys.readouterr().err
    assert main(["advise", "--log", str(log), "--max-latency-ms", "9", "--device", "other"]) == 0
    assert "71.8 %" in capsys.readouterr().out
    assert main(["advise"]) == 2
