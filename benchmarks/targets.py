"""Every network of the catalogue in every target that runs here: exported, and held against torch on real pictures.

    python benchmarks/targets.py PICTURES [--targets onnx,litert,openvino] [--networks mobilenetv2,...] [-o targets.md]

PICTURES: a folder; 64 of its pictures are used. Networks are untrained: statistics filled from a batch of 16 of these
pictures, the classifier rescaled over all so that answers differ from picture to picture (random weights amplify
rounding more than trained ones do, so a pass is a pass). Error: largest difference of logits over the largest; wanted:
at most 2e-4 and the same top-1 everywhere. A target that can't run here writes its file, which is inspected.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mobilenets.data import preprocess, read_image
from mobilenets.deploy import TARGETS, Embedded, Target
from mobilenets.deploy.checks import relative_errors
from mobilenets.deploy.embedded import as_fed
from mobilenets.deploy.machine import this_machine
from mobilenets.deploy.targets import has_module
from mobilenets.deploy.tracing import Source
from mobilenets.deploy.trained import as_arrays, runner
from mobilenets.models import build
from mobilenets.records import Calibration, Labels, Preprocess
from mobilenets.specs import CATALOGUE, Spec, resolve

LIMIT = 2e-4
PICTURES = 64
BATCH = 16  # for the statistics: more at once needs much memory in the large networks


def network_of(spec: Spec, inputs: NDArray[np.float32]) -> nn.Module:
    """Filled statistics, logits of zero mean and unit deviation per class over the pictures."""
    torch.manual_seed(0)
    network = build(spec)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.6, 1.2)
        nn.init.uniform_(norm.bias, -0.3, 0.3)
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.from_numpy(inputs[:: max(len(inputs) // BATCH, 1)][:BATCH]))
        network.eval()
        (logits,) = runner(network)(inputs)
        last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
        scale = torch.from_numpy(1 / np.maximum(logits.std(0), 1e-6))
        last.weight.mul_(scale[:, None])
        last.bias.copy_((last.bias - torch.from_numpy(logits.mean(0))) * scale)
    return network


def facts_of(spec: Spec, record: Preprocess, precision: str) -> Embedded:
    labels = Labels(tuple(f"class {index}" for index in range(spec.classes)))
    return Embedded(spec.name, spec.name, "classification", ("logits",), labels, record, Calibration(), precision, "")


def rows(name: str, targets: Sequence[Target], files: Sequence[Path]) -> Iterator[tuple[str, bool]]:
    spec = resolve(name)
    record = Preprocess(spec.resolution_px, mean=(0.5,) * 3, std=(0.5,) * 3)
    inputs = np.stack([preprocess(read_image(file), record) for file in files]).astype(np.float32)
    network = network_of(spec, inputs)
    (reference,) = runner(network)(inputs)
    source = Source(network, spec.name, ("logits",), 3, spec.resolution_px)
    for target in targets:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"model{target.suffix}")
            facts = facts_of(spec, record, target.precisions[0])
            start = time.perf_counter()
            target.export(source, path, facts=facts)
            seconds = time.perf_counter() - start
            structure = target.inspect(path, precision=target.precisions[0])
            said = "; ".join(structure.complaints) or "as it should be"
            parts = "" if structure.partitions is None else f"{structure.partitions} ({structure.outside} outside)"
            megabytes = sum(file.stat().st_size for file in target.files(path)) / 1e6
            head = f"| {name} | {target.name} {target.precisions[0]} |"
            tail = f"{parts} | {structure.transposes} | {megabytes:.1f} | {seconds:.0f} | {said} |"
            if reason := target.why_not_here():
                yield f"{head} written, not run ({reason}) | | {tail}", not structure.complaints
                continue
            session = target.open(path, threads=1)
            given = as_fed(inputs, record, target.fed(facts).preprocess)
            found = np.concatenate([as_arrays(session.run(given[i : i + 4]))[0] for i in range(0, len(given), 4)])
        error, _ = relative_errors((reference,), (found,))
        first, theirs = reference.argmax(1), found.argmax(1)
        equal = int((first == theirs).sum())
        said_of = f"{len(set(first.tolist()))} classes"
        if equal < len(found):
            each = np.arange(len(found))
            gap = float((reference[each, first] - reference[each, theirs]).max() / np.abs(reference).max())
            said_of += f"; elsewhere two logits of torch are within {gap:.1e} of the largest"
        passed = error <= LIMIT and equal == len(found) and not structure.complaints
        yield f"{head} {error:.1e} | {equal} of {len(found)} ({said_of}) | {tail}", passed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--networks", default=",".join(CATALOGUE))
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args(arguments)
    files = sorted(file for file in options.pictures.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    files = files[:: max(len(files) // PICTURES, 1)][:PICTURES]
    wanted = [TARGETS[name] for name in options.targets.split(",")]
    targets = [row for row in wanted if all(has_module(module) for module in row.export_modules)]
    machine = this_machine()
    versions = ", ".join(f"{name} {version}" for name, version in (machine.versions or {}).items())
    lines = [
        "# Every network in every target",
        "",
        f"`python benchmarks/targets.py`, {time.strftime('%Y-%m-%d')}. {machine.cpu}, {', '.join(machine.isa)}. "
        f"{versions}.",
        "",
        "| network | file | largest error | same top-1 | partitions | transposes | MB | export, s | structure |",
        "| --- | --- | --: | --- | --: | --: | --: | --: | --- |",
    ]
    passed = []
    for name in options.networks.split(","):
        for line, fine in rows(name, targets, files):
            sys.stderr.write(f"{line}\n")
            lines.append(line)
            passed.append(fine)
    lines += [
        "",
        f"{sum(passed)} of {len(passed)} files within {LIMIT:g}, with the same top-1 and a structure as it should be.",
    ]
    text = "\n".join(lines) + "\n"
    if options.out is not None:
        options.out.write_text(text)
    sys.stdout.write(text)
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
