"""Published files and what their import answers: accuracy on labelled photos beside the original in its own runtime.

    python benchmarks/imports.py SHARED [-o benchmarks/imports.md]

SHARED: the folder with weights/, data/imagenet200/ and reference/vectors/ (each with its SOURCE.txt). "short" is the
shorter side to 256 of 224 (both sides rounded, Pillow's bilinear), then the centre; "slim" the central 87.5 % of each
side, stretched; "squash" the whole picture, stretched: as in vectors/measured.csv, whose figures stand in the last
column.
"""

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data import preprocess, read_image
from mobilenets.data.preprocessing import normalise
from mobilenets.deploy.machine import this_machine
from mobilenets.deploy.trained import runner
from mobilenets.models.weights.formats import format_of, read_file
from mobilenets.models.weights.read import Read
from mobilenets.originals import RUNTIMES
from mobilenets.proving import activation_variants, built
from mobilenets.records import Preprocess

Floats = NDArray[np.float32]

# File, way of bringing pictures to size, the top-1 that measured.csv has for it (original; dequantised where given).
CLASSIFIERS = (
    ("tflite-support/mobilenet_v1_0.25_224_1_default_1.tflite", "slim", "58.0"),
    ("tflite-support/mobilenet_v1_0.25_224_1_default_1.tflite", "short", "58.5"),
    ("tflite-support/mobilenet_v1_0.25_224_quant.tflite", "short", "58.5; in float 60.0, agreement 93.5"),
    ("coral/tf2_mobilenet_v2_1.0_224_ptq.tflite", "short", "87.5; in float 87.0, agreement 99.0"),
    ("greenwaves/mobilenet_v2_0_5_224_quant.tflite", "short", "73.5; in float 74.5, agreement 96.0"),
    (
        "greenwaves/mobilenet_v3_large_minimalistic_1_0_224_quant.tflite",
        "short",
        "84.5; in float 84.0, agreement 91.5",
    ),
    ("keras-mobilenet-v1/mobilenet_v1_0.25_224.h5", "short", "59.5"),
)
RETINAFACE = "retinaface-pretrain/model_best.pth.tar"


@dataclass(frozen=True)
class Photos:
    """Photos with the index of their class among ImageNet's 1000."""

    files: tuple[Path, ...]
    targets: NDArray[np.int64]

    def tensors(self, record: Preprocess, way: str) -> Floats:
        return np.stack([_tensor(file, record, way) for file in self.files]).astype(np.float32)


def photos(folder: Path) -> Photos:
    with (folder / "labels.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return Photos(tuple(folder / row["path"] for row in rows), np.array([int(row["index"]) for row in rows]))


def _tensor(file: Path, record: Preprocess, way: str) -> NDArray[np.generic]:
    if way == "slim":
        return preprocess(read_image(file), replace(record, fit="central_then_stretch"))
    if way == "squash":
        return preprocess(read_image(file), replace(record, fit="stretch"))
    n = record.size_px[0]
    picture = Image.fromarray(read_image(file))
    side, (w, h) = round(n / 0.875), picture.size
    size = (side, round(h * side / w)) if w < h else (round(w * side / h), side)
    picture = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - n) // 2, (size[1] - n) // 2
    return normalise(np.asarray(picture.crop((left, top, left + n, top + n))), record)


def answers(read: Read, tensors: Floats) -> Floats:
    """Logits of the import, probabilities where the file ends in a softmax."""
    logits = runner(built(read))(tensors)[0]
    if not read.ends_in_softmax:
        return logits
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True)).astype(np.float32)


def top1(found: Floats, targets: NDArray[np.int64]) -> float:
    """Per cent right; with 1001 answers the first is the background."""
    return 100 * float((found.argmax(1) - (found.shape[1] == 1001) == targets).mean())


def classifiers(weights: Path, set_: Photos) -> Iterator[str]:
    heads = (
        "file",
        "recognised as",
        "pictures",
        "original top-1",
        "import top-1",
        "equal answers",
        "largest difference",
    )
    yield f"| {' | '.join((*heads, 'measured.csv'))} |"
    yield "| --- " * 8 + "|"
    for name, way, measured in CLASSIFIERS:
        file = weights / name
        read = read_file(file)
        tensors = set_.tensors(read.preprocess, way)
        ours = answers(read, tensors)
        theirs = RUNTIMES[format_of(file).name].open(file, read).run(tensors, ("",))[""]
        yield (
            f"| {name} | {read.spec.name} {read.spec.alpha:g}, {read.spec.classes} classes | {way} "
            f"| {top1(theirs, set_.targets):.1f} % | {top1(ours, set_.targets):.1f} % "
            f"| {100 * (ours.argmax(1) == theirs.argmax(1)).mean():.1f} % | {np.abs(ours - theirs).max():.1e} "
            f"| {measured} |"
        )


def activations(weights: Path, set_: Photos) -> Iterator[str]:
    yield "| activation | top-1 of 200 |"
    yield "| --- | --- |"
    read = read_file(weights / RETINAFACE)
    tensors = set_.tensors(read.preprocess, "short")
    for name, spec in (("ReLU", read.spec), *activation_variants(read.spec)):
        yield f"| {name} | {top1(answers(replace(read, spec=spec), tensors), set_.targets):.1f} % |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args(arguments)
    set_ = photos(options.shared / "data" / "imagenet200")
    machine = this_machine()
    lines = [
        "# Published files, imported",
        "",
        f"`python benchmarks/imports.py SHARED`, {time.strftime('%Y-%m-%d')}, {machine.cpu}, {machine.cores} cores.",
        f"Top-1 on {len(set_.files)} photos; the original in its own runtime, integer files in integers, the import in",
        "PyTorch in float32.",
        "",
    ]
    for title, part in (
        ("Classifiers", classifiers(options.shared / "weights", set_)),
        (f"The activation of {RETINAFACE}, which it does not store", activations(options.shared / "weights", set_)),
    ):
        lines += [f"## {title}", ""]
        for line in part:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            lines.append(line)
        lines.append("")
    if options.out:
        options.out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
