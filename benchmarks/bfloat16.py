"""What bfloat16 costs and brings on really trained networks: answers, accuracy and time beside float32, in one run.

    python benchmarks/bfloat16.py SHARED [MODEL ...] [--rounds 40] [-o benchmarks/bfloat16.md]

SHARED: the folder with weights/ and data/ (imagenet200/, grocery/). Published networks are imported and answer
imagenet200's 200 photos. MODEL: model files trained on grocery (`mobilenets fit SHARED/data/grocery --network
mobilenetv3_large --resolution 224 --minutes 15`), which answer its 324 test photos. Each file is written anew and held
to the network in torch; "picked" is what `export --target best --precision float32 --precision bfloat16` chose here,
which keeps nothing that its gate refuses. Times: one thread, batch 1, all files of a network in turns, each timed run
after an untimed one, medians; ONNX Runtime in float32 runs twice (A/A).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenets.bundle import ModelFile
from mobilenets.data import open_dataset, with_labels
from mobilenets.deploy import find_target, source_of
from mobilenets.deploy.best import export_best
from mobilenets.deploy.embedded import as_fed
from mobilenets.deploy.exporting import facts_of
from mobilenets.deploy.machine import this_machine
from mobilenets.deploy.pictures import batches, tensors
from mobilenets.deploy.targets import Session
from mobilenets.deploy.trained import runner, trained_network
from mobilenets.importing import import_model
from mobilenets.train.evaluation import paired_gain

Floats = NDArray[np.float32]
PUBLISHED = (
    "coral/tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "greenwaves/mobilenet_v3_large_minimalistic_1_0_224_quant.tflite",
)
FILES = (("onnx", "float32"), ("litert", "float32"), ("openvino", "float32"), ("openvino", "bfloat16"))
BASE = "onnx float32"


@dataclass(frozen=True)
class Photos:
    """(N, C, H, W) tensors as the network takes them, and (N,) indices of the true labels among its own."""

    tensors: Floats
    targets: NDArray[np.int64]


def photos(model: ModelFile, data: Path, split: str | None) -> Photos:
    dataset = with_labels(open_dataset(str(data)), model.record.labels)
    samples = dataset.samples if split is None else dataset.split(split)
    stream = tensors(((str(s.file), s.file) for s in samples), model.record.preprocess, workers=2, ahead=32)
    parts = [batch for _, batch in batches(stream, 16) if batch is not None]
    return Photos(np.concatenate(parts), np.array([sample.target for sample in samples]))


def sessions(model: ModelFile, folder: Path) -> dict[str, Session]:
    """Each of `FILES`, written without asking the gate, on one thread."""
    source, record, found = source_of(model), model.record, {}
    for name, precision in FILES:
        target = find_target(name)
        path = folder / f"{name}_{precision}{target.suffix}"
        target.export(source, path, facts=facts_of(record, precision=precision, weights_sha256=model.weights_sha256))
        found[f"{name} {precision}"] = target.open(path, threads=1)
    return found


def timed(found: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Median milliseconds of each, BASE once more as "again"."""
    runs = {**found, "again": found[BASE]}
    times: dict[str, list[float]] = {name: [] for name in runs}
    rng = np.random.default_rng(0)
    for turn in range(rounds + 3):
        for index in rng.permutation(len(runs)):
            name = list(runs)[index]
            runs[name]()
            start = time.perf_counter_ns()
            runs[name]()
            if turn >= 3:
                times[name].append((time.perf_counter_ns() - start) / 1e6)
    return {name: float(np.median(each)) for name, each in times.items()}


def compare(title: str, model: ModelFile, seen: Photos, *, rounds: int) -> Iterator[str]:
    reference = runner(trained_network(model))(seen.tensors)[0]
    right = reference.argmax(1) == seen.targets
    yield f"| {title} | torch float32 | | | {right.mean():.1%} of {len(right)} | | | | |"
    with tempfile.TemporaryDirectory() as place:
        found = sessions(model, Path(place))
        fed = {
            name: as_fed(seen.tensors, model.record.preprocess, session.facts.preprocess)
            for name, session in found.items()
        }
        answers = {
            name: np.concatenate([np.asarray(session.run(fed[name][i : i + 16])) for i in range(0, len(right), 16)])
            for name, session in found.items()
        }
        ms = timed({name: partial(session.run, fed[name][:1]) for name, session in found.items()}, rounds=rounds)
    best = export_best(model, precisions=("float32", "bfloat16"), max_seconds=60.0)
    picked = f"{best.exported.target} {best.exported.precision}"
    verdicts = {f"{done.target} {done.precision}": done for done in best.tried}
    for name, outputs in answers.items():
        error = float(np.abs(outputs - reference).max() / np.abs(reference).max())
        same = float((outputs.argmax(1) == reference.argmax(1)).mean())
        hits = outputs.argmax(1) == seen.targets
        gain, low, high = paired_gain(right, hits)
        word = "picked" if name == picked else "kept" if verdicts[name].passed else "refused by the gate"
        yield (
            f"| {title} | {name} | {error:.1e} | {same:.1%} | {hits.mean():.1%} "
            f"| {100 * gain:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}) "
            f"| {ms[name]:.2f} | {ms[name] / ms[BASE]:.3f} | {word} |"
        )
    spread = ms["again"] / ms[BASE]
    yield f"| {title} | A/A of {BASE} | | | | | | {max(spread, 1 / spread):.3f} | |"


def opened(shared: Path, models: Sequence[Path]) -> Iterator[tuple[str, ModelFile, Photos]]:
    data = shared / "data"
    labelled = data / "imagenet200" / "labels.csv"
    for name in PUBLISHED:
        with tempfile.TemporaryDirectory() as place:
            made = import_model(shared / "weights" / name, out=Path(place, "model"), data=labelled)
            model = ModelFile.open(Path(made.model))
            yield name, model, photos(model, labelled, None)
    for path in models:
        model = ModelFile.open(path)
        (height, width), spec = model.record.preprocess.size_px, model.record.spec
        yield f"{spec.name} {height}x{width}, grocery", model, photos(model, data / "grocery", "test")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args(arguments)
    if reason := find_target("openvino").why_not_here("bfloat16"):
        parser.exit(2, f"bfloat16.py: {reason}\n")
    machine = this_machine()
    versions = ", ".join(f"{name} {version}" for name, version in (machine.versions or {}).items())
    lines = [
        "# bfloat16 on really trained networks",
        "",
        f"`python benchmarks/bfloat16.py SHARED MODEL... --rounds {options.rounds}`, {time.strftime('%Y-%m-%d')}. "
        f"{machine.cpu}, {machine.cores} cores, {', '.join(machine.isa)}; load {machine.load:g} at the start. "
        f"Python {machine.python}, {versions}. One thread, batch 1, medians; what is compared stands at the top of "
        "that file.",
        "",
        "| network | file | largest difference | equal answers | top-1 | change in points (95 %, paired) | ms "
        "| to ONNX Runtime float32 | `export --target best` |",
        "| --- " * 9 + "|",
    ]
    for title, model, seen in opened(options.shared, options.models):
        for line in compare(title, model, seen, rounds=options.rounds):
            sys.stderr.write(f"{line}\n")
            lines.append(line)
    text = "\n".join(lines) + "\n"
    if options.out is not None:
        options.out.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
