"""Where the time of a network goes: its operators as its runtime timed them, layer by layer, against what this machine
can do at most. The sentences about it are in `explaining.py`."""

import math
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np

from ..errors import UsageError
from ..measure import LayerCost, cost
from ..records import OperatorTime, Profile, ProfileRow, Roofline
from ..specs import Spec
from .contenders import Asked, Contender, Step, Variation, find_contenders, noise_for
from .explaining import explain
from .machine import this_machine
from .profilers import MOVING, operator_times, require_profiler
from .roofline import measure_roofline
from .targets import find_target

RUNS = 30
MOVES, OTHER = "moving data", "other"
DEFAULT_WORKING_SET_MB = 2.0
"""For a file whose network is not known: about what V2 keeps alive at 224 px (4.8 MB) and V3-Small (1.1 MB)."""


def profile_model(
    source: Asked,
    *,
    target: str = "onnx",
    precision: str | None = None,
    threads: int = 1,
    batch: int = 1,
    runs: int = RUNS,
    alpha: float | None = None,
    resolution_px: tuple[int, int] | None = None,
    classes: int | None = None,
    in_channels: int | None = None,
    seed: int = 0,
    on_step: Step | None = None,
) -> Profile:
    """Where the time goes when a file runs on this machine, and why.

    Args:
        source: a model file (its export for `target`), an exported file, or a network by name, exported untrained.
        precision: by default the first that there is.
        runs: timed ones; an operator's time is their median, or their mean where the runtime tells no more.
        alpha, resolution_px, classes, in_channels: for a network by name.

    Raises: UsageError for a target whose runtime tells no operator times; as `bench_models` for what can't run here.
    """
    if min(threads, batch, runs) < 1:
        raise UsageError(f"profile: threads, batch and runs must be at least 1, not {threads}, {batch} and {runs}")
    require_profiler(find_target(target))  # before an export is paid for
    with tempfile.TemporaryDirectory(prefix="mobilenets-profile-") as folder:
        (contender, *_), _ = find_contenders(
            [source],
            targets=(target,),
            precisions=() if precision is None else (precision,),
            folder=Path(folder),
            variation=Variation(alpha, resolution_px, classes, in_channels),
            on_step=on_step,
        )
        if on_step is not None:
            on_step("measuring what this machine can do")
        roofline = measure_roofline(threads=threads, working_set_mb=_working_set_mb(contender, batch))
        if on_step is not None:
            on_step(f"timing {contender.network} on {contender.target.title}")
        session = contender.target.open(contender.path, threads=threads)
        inputs = noise_for(session, batch, contender.size_px, seed=seed)
        median_ms = _median_ms(lambda: session.run(inputs), runs)
        operators = operator_times(contender.target, contender.path, inputs, threads=threads, runs=runs)
        inspected = contender.target.inspect(contender.path, precision=contender.target.precision(contender.precision))
    layers = {} if contender.spec is None else _layers(contender.spec, contender.size_px)
    operators = tuple(replace(operator, layer=layer_of(operator, layers)) for operator in operators)
    total = sum(operator.ms for operator in operators)
    made = Profile(
        machine=this_machine(),
        network=contender.network,
        target=contender.target.name,
        precision=contender.precision,
        threads=threads,
        batch=batch,
        resolution_px=contender.size_px,
        median_ms=median_ms,
        profiled_ms=total,
        roofline=roofline,
        kinds=_kinds(operators, layers, roofline, batch),
        layers=_by_layer(operators, layers, roofline, batch),
        operators=operators,
        outside=None if inspected.partitions is None else inspected.outside,
    )
    return replace(made, words=explain(made, contender.spec, transposes=inspected.transposes))


def layer_of(operator: OperatorTime, layers: Iterable[str]) -> str:
    """The layer whose dotted name is in the operator's: "backbone.blocks.0.dw.act" is of "blocks.0.dw". Operators that
    move data belong to no layer: which ones there are is the runtime's choice."""
    if operator.kind in MOVING:
        return ""
    parts = re.split(r"[./]", operator.name)
    if parts == ["logits"]:
        parts = ["classifier"]
    best = ""
    for layer in layers:
        wanted = layer.split(".")
        inside = any(parts[i : i + len(wanted)] == wanted for i in range(len(parts) - len(wanted) + 1))
        if inside and len(layer) > len(best):
            best = layer
    return best


def _layers(spec: Spec, size_px: tuple[int, int]) -> dict[str, LayerCost]:
    return {layer.name: layer for layer in cost(spec, resolution_px=size_px).layers}


def _working_set_mb(contender: Contender, batch: int) -> float:
    """What the network keeps alive at most, which decides the cache that it lives in."""
    if contender.spec is None:
        return DEFAULT_WORKING_SET_MB
    return batch * cost(contender.spec, resolution_px=contender.size_px).peak_activation_mb.float32


def _median_ms(run: Callable[[], object], runs: int) -> float:
    times = []
    for turn in range(runs + 5):
        start = perf_counter()
        run()
        if turn >= 5:
            times.append((perf_counter() - start) * 1e3)
    return float(np.median(times))


def _kind(operator: OperatorTime, layers: dict[str, LayerCost]) -> str:
    """What an operator is called in the field: of its layer where that is known, else by its shapes."""
    if operator.layer:
        layer = layers[operator.layer]
        side = f" {layer.kernel[0]}x{layer.kernel[1]}" if layer.kind in ("depthwise", "convolution") else ""
        return layer.kind + side
    if operator.kind in MOVING:
        return MOVES
    if "Conv" in operator.kind and len(operator.inputs) > 1:
        weights = operator.inputs[1]
        kernel = weights[-2:]
        if weights[-3] == 1 and math.prod(weights[:-3]) == operator.output[1] > 1:
            return f"depthwise {kernel[0]}x{kernel[1]}"
        return "pointwise" if kernel == (1, 1) else f"convolution {kernel[0]}x{kernel[1]}"
    if operator.macs:
        return "linear"
    return OTHER


def _kinds(
    operators: Sequence[OperatorTime], layers: dict[str, LayerCost], roofline: Roofline, batch: int
) -> tuple[ProfileRow, ...]:
    """Operators by what they are, the slowest kind first."""
    groups: dict[str, list[OperatorTime]] = {}
    for operator in operators:
        groups.setdefault(_kind(operator, layers), []).append(operator)
    total = sum(operator.ms for operator in operators)
    rows = [_together(kind, kind, members, layers, roofline, total, batch) for kind, members in groups.items()]
    return tuple(sorted(rows, key=lambda row: -row.ms))


def _by_layer(
    operators: Sequence[OperatorTime], layers: dict[str, LayerCost], roofline: Roofline, batch: int
) -> tuple[ProfileRow, ...]:
    """Operators by their layer, in the order of the network; one of no layer by itself."""
    groups: dict[str, list[OperatorTime]] = {}
    for operator in operators:
        groups.setdefault(operator.layer or operator.name, []).append(operator)
    total = sum(operator.ms for operator in operators)
    return tuple(
        _together(name, _kind(members[0], layers), members, layers, roofline, total, batch)
        for name, members in groups.items()
    )


def _together(
    name: str,
    kind: str,
    members: Sequence[OperatorTime],
    layers: dict[str, LayerCost],
    roofline: Roofline,
    total_ms: float,
    batch: int,
) -> ProfileRow:
    """Several operators as one row. A layer that is known counts its multiply-adds as `measure` does."""
    names = dict.fromkeys(member.layer for member in members if member.layer)
    macs = sum(batch * layers[layer].macs for layer in names)
    macs += sum(member.macs for member in members if not member.layer)
    moved = sum(member.bytes for member in members)
    ms = sum(member.ms for member in members)
    compute_ms = macs / roofline.gmacs_per_s / 1e6
    memory_ms = moved / roofline.gb_per_s / 1e6
    bound: Literal["compute", "memory"] = "compute" if compute_ms > memory_ms else "memory"
    bound_ms = max(compute_ms, memory_ms)
    return ProfileRow(
        name=name,
        kind=kind,
        operators=len(members),
        ms=ms,
        share=ms / total_ms if total_ms else 0.0,
        macs=macs,
        bytes=moved,
        intensity=macs / moved if moved else 0.0,
        bound=bound,
        bound_ms=bound_ms,
        reached=bound_ms / ms if ms else 0.0,
        size_px=layers[name].size_px if name in layers else (0, 0),
    )
