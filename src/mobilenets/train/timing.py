"""Memory format, precision and depthwise gradients of training, chosen by timing this network on this machine.

Two heats. A few images first: what is more than twice as slow as the best is out (bf16 on a CPU that only imitates it
would take minutes with a full batch). Then full batches, the candidates taking turns; the smallest time of each
counts. Within `MARGIN` of the best the earliest of the list wins, so that noise does not decide between equals.

The choice is kept in the cache folder (timings/), per network, batch, threads, versions and machine: two equal runs on
one machine then compute alike, to the bit. Delete the folder to have it timed anew.
"""

import copy
import hashlib
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn

from .. import __version__
from ..codec import from_json, to_json
from ..errors import BadData
from ..files import cache_dir, write_atomic
from .depthwise import faster_by_pairs
from .recipe import MemoryFormat, Precision, Recipe
from .step import Compute, Loss, TrainStep

MARGIN = 1.05
OUT = 2.0
SMALL = 4
ROUNDS = 3
FORMAT = 2
"""Of what is kept: changes whenever something new is timed."""


def candidates(device: torch.device, recipe: Recipe) -> tuple[tuple[MemoryFormat, Precision], ...]:
    """What is timed on `device`, the plainest first; what `recipe` fixes is taken as it says."""
    precisions: tuple[Precision, ...]
    if recipe.precision != "auto":
        precisions = (recipe.precision,)
    elif device.type == "cpu":
        precisions = ("float32", "bfloat16_dw32", "bfloat16")
    elif device.type == "cuda":
        precisions = ("float32", "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16")
    else:
        precisions = ("float32",)
    formats: tuple[MemoryFormat, ...] = ("channels_last", "nchw")
    if recipe.memory_format != "auto":
        formats = (recipe.memory_format,)
    return tuple((memory_format, precision) for precision in precisions for memory_format in formats)


def fastest_step(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    loss: Loss,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    among: Sequence[tuple[MemoryFormat, Precision]],
    train_mode: Callable[[nn.Module], object] = nn.Module.train,
    limit_s: float = 30.0,
) -> Compute:
    """The fastest way to take a training step of `network` on this batch.

    `network` itself is not touched: copies are trained. optimizer: makes one for a copy, as training will.
    limit_s: no new round begins after so long; every candidate that passes the first heat gets at least one.

    Shapes: images float32 (N, C, h, w), targets as the loss takes them.
    """
    begin = perf_counter()
    on_cpu = next(network.parameters()).device.type == "cpu"
    by_pairs = faster_by_pairs(network, images) if on_cpu else ()
    if len(among) == 1:
        return Compute(*among[0], by_pairs)
    steps = {}
    for memory_format, precision in among:
        own = copy.deepcopy(network)
        train_mode(own)
        compute = Compute(memory_format, precision, by_pairs)
        steps[memory_format, precision] = TrainStep(own, loss, optimizer(own), compute=compute)
    small = slice(0, min(SMALL, len(images)))
    times = _heat(steps, images[small], targets[small], rounds=2, until=begin + limit_s)
    best = min(times.values())
    for pair in [pair for pair, seconds in times.items() if seconds > OUT * best]:
        del steps[pair]
    times = _heat(steps, images, targets, rounds=ROUNDS, until=begin + limit_s)
    best = min(times.values())
    memory_format, precision = next(pair for pair, seconds in times.items() if seconds <= MARGIN * best)
    return Compute(memory_format, precision, by_pairs, {" ".join(pair): seconds for pair, seconds in times.items()})


def _heat(
    steps: dict[tuple[MemoryFormat, Precision], TrainStep],
    images: Tensor,
    targets: Tensor,
    *,
    rounds: int,
    until: float,
) -> dict[tuple[MemoryFormat, Precision], float]:
    """Seconds of a step per candidate: the smallest of `rounds`, after one warm step each."""
    times = {pair: float("inf") for pair in steps}
    for turn in range(rounds + 1):
        if turn > 1 and perf_counter() > until:
            break
        for pair in sorted(steps, reverse=turn % 2 == 1):  # nobody is always first
            seconds = timed_step(steps[pair], images, targets)
            if turn:
                times[pair] = min(times[pair], seconds)
    return times


def timed_step(step: TrainStep, images: Tensor, targets: Tensor) -> float:
    """Seconds of one step, the device's work included."""
    start = perf_counter()
    step(images, targets)
    synchronise(step.device)
    return perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Wait until `device` has done what it was asked."""
    match device.type:
        case "cuda":
            torch.cuda.synchronize(device)
        case "mps":
            torch.mps.synchronize()
        case _:
            pass


def remembered(key: str, measure: Callable[[], Compute]) -> Compute:
    """The choice that was kept for `key`, or that of `measure`, which is then kept."""
    file = cache_dir() / "timings" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    try:
        return from_json(Compute, file.read_text("utf-8"), where=str(file))
    except (OSError, UnicodeDecodeError, BadData):
        pass  # not there, or of another version of this library: measured and written anew
    choice = measure()
    write_atomic(file, to_json(choice))
    return choice


def compute_key(
    network: nn.Module, images: Tensor, *, recipe: Recipe, among: Sequence[tuple[MemoryFormat, Precision]]
) -> str:
    """What a choice depends on, as text: modules and shapes, batch, candidates, threads, versions, processor."""
    modules = [f"{type(m).__name__}({m.extra_repr()})" for m in network.modules()]
    device = next(network.parameters()).device
    return "\n".join(
        [
            f"mobilenets {__version__}, timing {FORMAT}",
            *modules,
            f"images {tuple(images.shape)}; {type(recipe.optimizer).__name__}; {recipe.norm_statistics} statistics",
            f"{among} on {device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}",
            _processor(device),
        ]
    )


def _processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    model = next((line for line in lines if line.startswith("model name")), platform.processor())
    return f"{model} {torch.backends.cpu.get_cpu_capability()} {platform.machine()}"
