"""How long each operator of a file takes, asked of the runtimes that tell: the one place that knows them by name.

LiteRT's and ExecuTorch's Python packages hand out no operator times; LiteRT's own `benchmark_model
--enable_op_profiling=true` prints them on a device.
"""

import json
import math
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..records import OperatorTime
from .openvino_graph import hint_of, read_openvino
from .targets import Target

WARMUP = 5
Shape: TypeAlias = tuple[int, ...]
Profiler: TypeAlias = Callable[[Path, NDArray[np.generic], int, int], tuple[OperatorTime, ...]]
"""(file, batch, threads, runs) -> operators in the order in which they run."""

MOVING = frozenset(
    {"Reorder", "ReorderInput", "ReorderOutput", "Transpose", "Reshape", "Pad", "Concat", "Slice", "Split", "Cast",
     "Convert", "Squeeze", "Unsqueeze", "Flatten", "Expand", "Gather", "StridedSlice"}
)  # fmt: skip
"""Operators that only move data."""


def operator_times(
    target: Target, path: Path, batch: NDArray[np.generic], *, threads: int, runs: int
) -> tuple[OperatorTime, ...]:
    """The operators of a file and the milliseconds that each took in `runs` warm runs: the median, or the mean where
    the runtime tells only that (OpenVINO).

    Raises: UsageError for a target whose runtime tells no operator times; MissingRuntime.
    """
    require_profiler(target)
    target.require(target.run_modules, target.run_extra)
    return PROFILERS[target.name](path, batch, threads, runs)


def require_profiler(target: Target) -> None:
    """Raises UsageError for a target whose runtime tells no operator times."""
    if target.name not in PROFILERS:
        raise UsageError(
            f"{target.title} shows no operator times in Python",
            hint=f"the same network can be profiled with --target {' or '.join(PROFILERS)}",
        )


def _onnx(path: Path, batch: NDArray[np.generic], threads: int, runs: int) -> tuple[OperatorTime, ...]:
    """From the session's own profile: one event per operator and run, with the shapes that went in and came out."""
    written = _unpadded(_events(path, batch, threads, runs=1, as_written=True))
    seen: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for event in _events(path, batch, threads, runs=WARMUP + runs):
        seen[event["name"], event["args"]["op_name"]].append(event)
    found = []
    for (name, kind), each in seen.items():
        inputs, output = _event_shapes(each[-1])
        plain = re.sub(r"(_nchwc|_token_\d+)+$", "", name)
        times = [event["dur"] / 1e3 for event in each[-runs:]]
        operator = _operator(plain, kind, median(times), inputs, output)
        if "Conv" in kind and plain in written and written[plain].output[2:] == output[2:]:
            operator = replace(operator, macs=written[plain].macs)
        found.append(operator)
    return tuple(found)


class _Written(NamedTuple):
    output: Shape
    macs: int


def _events(
    path: Path, batch: NDArray[np.generic], threads: int, *, runs: int, as_written: bool = False
) -> list[dict[str, Any]]:
    """What ONNX Runtime tells of every operator in every run, in the order in which they ran, by their own names."""
    import onnxruntime

    from .onnx import session_options

    options = session_options(threads, as_written=as_written)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="mobilenets-profile-") as folder:
        options.profile_file_prefix = str(Path(folder, "operators"))
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: batch}
        for _ in range(runs):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_bytes())
    end = "_kernel_time"
    return [
        {**event, "name": event["name"].removesuffix(end)}
        for event in events
        if event["cat"] == "Node" and event["name"].endswith(end)
    ]


def _unpadded(events: Sequence[dict[str, Any]]) -> dict[str, _Written]:
    """What the convolutions of a file multiply as it is written, by the name of every operator from one to the next.

    The NCHWc kernels round channels up to the 8 or 16 that a vector holds, which is no work of the network's, and they
    bear the name of the activation that was fused last.
    """
    found = {}
    last = None
    for event in events:
        if event["args"]["op_name"] == "Conv":
            inputs, output = _event_shapes(event)
            last = _Written(output, _macs("Conv", inputs, output))
        if last is not None:
            found[event["name"]] = last
    return found


def _event_shapes(event: dict[str, Any]) -> tuple[tuple[Shape, ...], Shape]:
    args = event["args"]
    inputs = tuple(shape for entry in args["input_type_shape"] for shape in _shapes(entry))
    return inputs, next((shape for entry in args["output_type_shape"] for shape in _shapes(entry)), ())


def _shapes(entry: dict[str, list[int]]) -> list[Shape]:
    return [tuple(sides) for sides in entry.values()]


def _openvino(path: Path, batch: NDArray[np.generic], threads: int, runs: int) -> tuple[OperatorTime, ...]:
    """From the plug-in's counters; the compiled graph tells the shapes. What was fused bears its first one's name."""
    import openvino

    core = openvino.Core()
    model, facts = read_openvino(path)
    model.reshape(list(batch.shape))
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": hint_of(facts),
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERF_COUNT": True,
        },
    )
    request = compiled.create_infer_request()
    for _ in range(WARMUP):
        request.infer({0: batch})
    cold = _totals(request, WARMUP)
    for _ in range(runs):
        request.infer({0: batch})
    times = {name: max(total - cold[name], 0.0) / runs / 1e3 for name, total in _totals(request, WARMUP + runs).items()}
    found = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        name = node.get_friendly_name()
        if name not in times:
            continue
        told = node.get_rt_info()
        kind, width = str(told["layerType"].astype(str)), 2 if told["runtimePrecision"].astype(str) == "bf16" else 4
        inputs = tuple(_known(value.get_partial_shape()) for value in node.inputs())
        output = _known(node.output(0).get_partial_shape()) if node.get_output_size() else ()
        operator = _operator(name.removesuffix("/WithoutBiases"), kind, times[name], inputs, output, width)
        if operator.ms or operator.macs:
            found.append(operator)
    return tuple(found)


def _totals(request: Any, runs: int) -> dict[str, float]:
    """The microseconds of every node over all `runs` so far: OpenVINO tells the mean of them, rounded down, and calls a
    node of less than one not run."""
    counters = request.get_profiling_info()
    return {counter.node_name: counter.real_time / timedelta(microseconds=1) * runs for counter in counters}


def _known(shape: Any) -> Shape:
    return tuple(side.get_length() for side in shape) if shape.is_static else ()


PROFILERS: dict[str, Profiler] = {"onnx": _onnx, "openvino": _openvino}


def _operator(name: str, kind: str, ms: float, inputs: Sequence[Shape], output: Shape, width: int = 4) -> OperatorTime:
    """The operator with what follows from its shapes: multiply-adds, and bytes read and written, `width` a number."""
    moved = sum(math.prod(shape) for shape in (*inputs, output))
    if kind in ("Gemm", "MatMul") and len(inputs) == 1:  # ONNX Runtime packs the weights away and hides their shape
        moved += inputs[0][-1] * output[-1]
    return OperatorTime(name, kind, ms, tuple(inputs), output, _macs(kind, inputs, output), moved * width)


def _macs(kind: str, inputs: Sequence[Shape], output: Shape) -> int:
    """Multiply-adds of a convolution or a matrix product; 0 for all else, and where shapes are missing."""
    if not inputs or not output:
        return 0
    if "Conv" in kind and len(inputs) > 1:
        weights = inputs[1]
        return math.prod(output) * math.prod(weights[2:] if len(weights) > 4 else weights[1:])  # 5: groups first
    if kind in ("Gemm", "MatMul", "FullyConnected", "FusedMatMul", "FusedGemm"):
        if len(inputs) > 1 and min(len(inputs[0]), len(inputs[1])) > 1:  # M K x K N -> M N, whichever is transposed
            batch = math.prod(output[:-2])
            square = math.prod(inputs[0]) * math.prod(inputs[1]) / (math.prod(output) * batch)
            if len(inputs[1]) == 2 and batch > 1:
                square *= batch
            return math.prod(output) * round(math.sqrt(square))
        return math.prod(output) * inputs[0][-1]
    return 0
