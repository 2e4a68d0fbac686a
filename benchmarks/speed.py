"""Forward and training-step throughput against timm's and torchvision's same networks, interleaved in one process.

    python benchmarks/speed.py [--rounds 15] [--networks mobilenetv2,...] [-o benchmarks/speed.md]

Forward: one thread, 224 px, batch 1, eval mode, both memory formats, each side's better one counts. Batch-norm
statistics are those of random images: with fresh ones activations shrink from layer to layer, each library's at its own
rate, and numbers near zero compute at another speed.
Training step: one thread, 128 px, batch 32, 100 classes, SGD with momentum. Theirs: the best of NCHW and channels-last,
float32 and plain bf16 autocast. Ours: what our loop does by itself: memory format, precision and the way of each weight
gradient timed by `fastest_step`, freed memory kept (`kept_memory`, which holds for our turns only). A turn is one warm
step and STEPS timed ones. The A/A line is the same peer twice, as two instances: ratios inside its spread mean nothing.
"""

import argparse
import contextlib
import copy
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import mobilenets
from mobilenets.deploy.machine import this_machine
from mobilenets.models import build
from mobilenets.train import SGD, Compute, Recipe, TrainStep, build_optimizer, candidates, fastest_step
from mobilenets.train.memory import kept_memory
from mobilenets.train.step import TORCH_FORMAT


@dataclass(frozen=True)
class Pair:
    """One network of ours and its peers: name -> constructor taking the number of classes."""

    ours: str
    peers: dict[str, Callable[[int], nn.Module]]


def timm_net(name: str) -> Callable[[int], nn.Module]:
    return lambda classes: timm.create_model(name, num_classes=classes)


def tv_net(name: str) -> Callable[[int], nn.Module]:
    return lambda classes: getattr(torchvision.models, name)(num_classes=classes)


PAIRS = (
    Pair("mobilenetv1_100", {"timm": timm_net("mobilenetv1_100")}),
    Pair("mobilenetv2", {"timm": timm_net("mobilenetv2_100"), "torchvision": tv_net("mobilenet_v2")}),
    Pair("mobilenetv3_large", {"timm": timm_net("mobilenetv3_large_100"), "torchvision": tv_net("mobilenet_v3_large")}),
    Pair("mobilenetv3_small", {"timm": timm_net("mobilenetv3_small_100"), "torchvision": tv_net("mobilenet_v3_small")}),
    Pair("mobilenetv4_conv_small", {"timm": timm_net("mobilenetv4_conv_small")}),
    Pair("mobilenetv4_conv_medium", {"timm": timm_net("mobilenetv4_conv_medium")}),
    Pair("mobilenetv4_hybrid_medium", {"timm": timm_net("mobilenetv4_hybrid_medium")}),
)
TRAINED = ("mobilenetv2", "mobilenetv3_large", "mobilenetv4_conv_small")


STEPS = 2
FEW = 4
RECIPE = Recipe(name="speed", epochs=1, batch=32, lr=1e-3, optimizer=SGD(momentum=0.9), weight_decay=1e-4, ema=None)


def medians_ms(runs: dict[str, Callable[[], object]], *, rounds: int, warmup: int = 2) -> dict[str, float]:
    """Milliseconds of each run, the candidates taking turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(warmup + rounds):
        for name, run in sorted(runs.items(), reverse=i % 2 == 1):
            start = time.perf_counter_ns()
            run()
            if i >= warmup:
                times[name].append((time.perf_counter_ns() - start) / 1e6)
    return {name: statistics.median(t) for name, t in times.items()}


@torch.no_grad()
def settled(net: nn.Module) -> nn.Module:
    """`net` in eval mode with the batch-norm statistics of random images."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    net.train()
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
    net(torch.randn(8, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    return net.eval()


def forward_rows(pair: Pair, *, rounds: int) -> list[str]:
    """Ours against each peer, the better memory format of each side."""
    torch.manual_seed(0)
    nets = {"ours": build(pair.ours, classes=1000)} | {name: make(1000) for name, make in pair.peers.items()}
    nets = {name: settled(net) for name, net in nets.items()}
    nets["A/A"] = copy.deepcopy(next(net for name, net in nets.items() if name != "ours"))
    runs: dict[str, Callable[[], object]] = {}
    for name, net in nets.items():
        for layout, torch_format in TORCH_FORMAT.items():
            x = torch.randn(1, 3, 224, 224).to(memory_format=torch_format)
            runs[f"{name} {layout}"] = partial(copy.deepcopy(net).eval().to(memory_format=torch_format), x)
    with torch.inference_mode():
        ms = medians_ms(runs, rounds=rounds, warmup=3)
    best = {name: min(ms[f"{name} {layout}"] for layout in TORCH_FORMAT) for name in nets}
    first = next(iter(pair.peers))
    noise = max(best["A/A"], best[first]) / min(best["A/A"], best[first])
    rows = []
    for peer in pair.peers:
        ratio = best["ours"] / best[peer]
        rows.append(f"| {pair.ours} | {peer} | {best['ours']:.2f} | {best[peer]:.2f} | {ratio:.3f} | {noise:.3f} |")
    return rows


def plain_step(net: nn.Module, images: torch.Tensor, targets: torch.Tensor, *, bf16: bool) -> Callable[[], None]:
    """The training step that everybody writes: autocast around forward and loss, SGD."""
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(net(images), targets)
        loss.backward()
        optimizer.step()

    return step


def step_rows(pair: Pair, *, rounds: int) -> list[str]:
    """Our loop's own choice against the best of theirs."""
    torch.manual_seed(0)
    images, targets = torch.randn(32, 3, 128, 128), torch.randint(0, 100, (32,))
    ours = build(pair.ours, resolution_px=(128, 128), classes=100).train()

    def optimizer(net: nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(net, RECIPE)

    with kept_memory():
        compute = fastest_step(
            ours, images, targets, loss=F.cross_entropy, optimizer=optimizer,
            among=candidates(torch.device("cpu"), RECIPE),
        )  # fmt: skip
    step = TrainStep(ours, F.cross_entropy, optimizer(ours), compute=compute)
    runs: dict[str, Callable[[], object]] = {"ours": partial(step, images, targets)}
    on_few: dict[str, Callable[[], object]] = {"ours": partial(step, images[:FEW], targets[:FEW])}
    makers = dict(pair.peers)
    makers["A/A"] = next(iter(pair.peers.values()))
    for name, make in makers.items():
        for fmt, torch_format in TORCH_FORMAT.items():
            for bf16 in (False, True):
                key = f"{name} {fmt} {'bf16' if bf16 else 'float32'}"
                net = make(100).to(memory_format=torch_format)
                pictures = images.to(memory_format=torch_format)
                runs[key] = plain_step(net, pictures, targets, bf16=bf16)
                on_few[key] = plain_step(net, pictures[:FEW], targets[:FEW], bf16=bf16)
    # What is three times slower than the best on a few images (bf16 on a CPU that imitates it) is not timed to the end.
    quick = turns_ms(on_few, rounds=1)
    limit = 3 * min(quick.values())
    ms = turns_ms({name: run for name, run in runs.items() if quick[name] <= limit}, rounds=rounds)
    rows = []
    twin = min(v for k, v in ms.items() if k.startswith("A/A "))
    first = min(v for k, v in ms.items() if k.startswith(f"{next(iter(pair.peers))} "))
    noise = max(twin, first) / min(twin, first)
    for peer in pair.peers:
        key, best = min(((k, v) for k, v in ms.items() if k.startswith(f"{peer} ")), key=lambda kv: kv[1])
        rows.append(
            f"| {pair.ours} | {words(compute)} | {key} | {ms['ours']:.0f} | {best:.0f} | {best / ms['ours']:.2f} "
            f"| {noise:.3f} |"
        )
    return rows


def turns_ms(runs: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Milliseconds of a training step of each, the candidates taking turns of one warm step and STEPS timed ones."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds):
        for name, run in sorted(runs.items(), reverse=i % 2 == 1):
            with kept_memory() if name == "ours" else contextlib.nullcontext():
                run()
                for _ in range(STEPS):
                    start = time.perf_counter_ns()
                    run()
                    times[name].append((time.perf_counter_ns() - start) / 1e6)
    return {name: statistics.median(t) for name, t in times.items()}


def words(compute: Compute) -> str:
    """What our loop chose."""
    pairs = f", {len(compute.by_pairs)} depthwise by pairs" if compute.by_pairs else ""
    return f"{compute.memory_format} {compute.precision}{pairs}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--networks", default=",".join(pair.ours for pair in PAIRS))
    parser.add_argument("-o", "--out", type=Path, help="write the tables there too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wanted = options.networks.split(",")
    pairs = [pair for pair in PAIRS if pair.ours in wanted]
    machine = this_machine()
    lines = [
        "# Speed against timm and torchvision",
        "",
        f"`python benchmarks/speed.py`, {time.strftime('%Y-%m-%d')}. {machine.cpu}, {machine.cores} cores, "
        f"{', '.join(machine.isa)}; load {machine.load:.2f} at the start. Python {platform.python_version()}, "
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}, "
        f"mobilenets {mobilenets.__version__}. One thread. Medians of {options.rounds} interleaved rounds.",
        "",
        "## Forward: 224 px, batch 1 (ratio = ours / theirs, below 1 is faster)",
        "",
        "| network | peer | ours ms | theirs ms | ratio | A/A |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    show = partial(print, file=sys.stderr, flush=True)
    for pair in pairs:
        rows = forward_rows(pair, rounds=3 * options.rounds)
        show(*rows, sep="\n")
        lines += rows
    lines += [
        "",
        "## Training step: 128 px, batch 32 (speed-up = theirs / ours, above 1 is faster)",
        "",
        "| network | our loop chose | their best | ours ms | theirs ms | speed-up | A/A |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for pair in pairs:
        if pair.ours in TRAINED:
            rows = step_rows(pair, rounds=max(3, options.rounds // 3))
            show(*rows, sep="\n")
            lines += rows
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
