"""Handwritten digits over seeds: what `fit` reaches, and that the way steps are computed does not change it.

    python benchmarks/digits.py [--seeds 5] [--parts fit,compute] [-o benchmarks/digits.md]

fit: `mobilenets fit digits --seed S`, each seed with a split, first weights and batches of its own; the whole job, with
export and verification. compute: V2, V3-Large and V4-Conv-S (width 0.5, 32 px, stem stride 1, EPOCHS epochs) trained by
what our loop chooses by itself, and plainly (NCHW, float32, torch's own gradients), three seeds each, same split and
first weights; --precision bfloat16_dw32 forces that one where the processor only imitates bf16.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch

from mobilenets import fit
from mobilenets.data import open_dataset
from mobilenets.deploy.machine import this_machine
from mobilenets.records import Preprocess
from mobilenets.specs import resolve
from mobilenets.tasks import task
from mobilenets.train import Budget, Compute, find_recipe, predict_outputs, recipe_spec, train

NETWORKS = ("mobilenetv2", "mobilenetv3_large", "mobilenetv4_conv_small")
EPOCHS, SIDE, SEEDS = 10, 32, 3
PLAIN = Compute("nchw", "float32")


def fit_rows(seeds: int) -> list[str]:
    """One line per seed of the whole job, and their mean."""
    rows, found = [], []
    for seed in range(seeds):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            result = fit("digits", seed=seed, out=Path(folder, "run"))
        found.append(result.top1)
        low, high = result.interval
        rows.append(
            f"| {seed} | {result.top1:.4f} | {low:.3f} to {high:.3f} | {result.test_images} "
            f"| {result.onnx.top1_agreement:.4f} | {time.perf_counter() - start:.0f} |"
        )
        sys.stderr.write(rows[-1] + "\n")
    spread = statistics.stdev(found) if len(found) > 1 else 0.0
    return [*rows, f"| mean | {statistics.mean(found):.4f} | standard deviation {spread:.4f} | | | |"]


def top1(name: str, seed: int, compute: Compute | None, precision: str | None) -> tuple[float, str]:
    """Test top-1 of one training, and how its steps were computed. compute None: the loop's own choice."""
    dataset = open_dataset("digits")
    recipe = find_recipe("small_images")
    if precision is not None and compute is None:
        recipe = replace(recipe, precision=precision)
    spec = recipe_spec(
        resolve(name, alpha=0.5, resolution_px=(SIDE, SIDE), classes=len(dataset.labels), stem_stride=1), recipe
    )
    torch.manual_seed(seed)
    network = task("classification").build(spec, dataset.labels)
    record = Preprocess(size_px=(SIDE, SIDE), crop_ratio=1.0)
    plain = patch("mobilenets.train.preparing._compute", lambda *_: compute)
    with tempfile.TemporaryDirectory() as folder:
        how = {"preprocess": record, "recipe": recipe, "budget": Budget(epochs=EPOCHS), "run": Path(folder, "run")}
        if compute is None:
            training = train(network, task("classification"), dataset, seed=seed, **how)
        else:
            with plain:
                training = train(network, task("classification"), dataset, seed=seed, **how)
    outputs, targets, _ = predict_outputs(network, dataset.test, record)
    return float((outputs.argmax(1) == targets).mean()), f"{training.memory_format} {training.precision}"


def compute_rows(precision: str | None) -> list[str]:
    """One line per network: mean test top-1 both ways."""
    rows = []
    for name in NETWORKS:
        ours = [top1(name, seed, None, precision) for seed in range(SEEDS)]
        plain = [top1(name, seed, PLAIN, None)[0] for seed in range(SEEDS)]
        a, b = statistics.mean(value for value, _ in ours), statistics.mean(plain)
        words = [", ".join(f"{100 * value:.1f}" for value in values) for values in ([v for v, _ in ours], plain)]
        rows.append(f"| {name} | {ours[0][1]} | {words[0]} | {words[1]} | {100 * (a - b):+.2f} |")
        sys.stderr.write(rows[-1] + "\n")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--parts", default="fit,compute")
    parser.add_argument("--precision", help="of our way in compute, instead of the loop's own choice")
    parser.add_argument("-o", "--out", type=Path, help="write the tables there too")
    options = parser.parse_args()
    machine = this_machine()
    lines = [
        "# Handwritten digits over seeds",
        "",
        f"`python benchmarks/digits.py`, {time.strftime('%Y-%m-%d')}. {machine.cpu}, {machine.cores} cores, "
        f"{', '.join(machine.isa)}; torch {torch.__version__}.",
    ]
    if "fit" in options.parts.split(","):
        lines += ["", "## fit: each seed with its own split", ""]
        lines += [
            "| seed | test top-1 | 95 % | images | ONNX agrees | seconds |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        lines += fit_rows(options.seeds)
    if "compute" in options.parts.split(","):
        lines += ["", f"## compute: {EPOCHS} epochs, test top-1 in % of {SEEDS} seeds", ""]
        lines += ["| network | our loop computed in | ours | plain | difference |", "| --- | --- | --- | --- | --- |"]
        lines += compute_rows(options.precision)
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
