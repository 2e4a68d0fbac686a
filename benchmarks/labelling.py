"""From JPEG file to label, both cores, same networks and weights: timm's loop, ONNX Runtime with Pillow, ours.

    python benchmarks/labelling.py PHOTOS [--rounds 7] [--target best] [--trained MODEL ...] [-o labelling.md]

PHOTOS: a folder of JPEG files. Each route labels all of them once a round; rounds are interleaved, medians reported.
timm's documented loop: `create_model`, `resolve_model_data_config`, `create_transform`, one image at a time, eager.
ONNX Runtime: its defaults with 2 threads, fed by Pillow one image at a time (bicubic, short side 256, centre 224).
Weights are random (one seed), statistics those of noise, the classifier scaled on the photos so that labels differ.
Run it on a quiet machine: beside another busy process torch's two threads wait for each other (30 ms became 580).
The bound is cores / (preparing a picture + answering it), each timed alone on one core in the same run. On a CPU that
has bfloat16, OpenVINO's file of that precision is a route too, written without asking the gate: the column of equal
answers says whether its parity holds for these weights. With random ones, whose answers lie close together, it may not;
--trained adds model files (`mobilenets import`), which timm's loop can't run: they are held against ONNX Runtime.
"""

import argparse
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnxruntime
import timm
import torch
from deployed_networks import SIDE_PX, filled
from PIL import Image
from torch import nn

from mobilenets.bundle import ModelFile
from mobilenets.deploy import Model, find_target, load, source_of
from mobilenets.deploy import fast as fast_path
from mobilenets.deploy.best import export_best
from mobilenets.deploy.exporting import Exported, export_model, facts_of
from mobilenets.deploy.machine import has_bfloat16, this_machine, usable_cores
from mobilenets.deploy.pictures import Prepare, preparing
from mobilenets.deploy.run import BATCH
from mobilenets.deploy.targets import has_module
from mobilenets.importing import import_model
from mobilenets.records import Preprocess

NETWORKS = ("mobilenetv2_100", "mobilenetv3_large_100", "mobilenetv4_conv_small")
Route = Callable[[], list[int]]


def timm_route(network: nn.Module, files: Sequence[Path]) -> Route:
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)

    def run() -> list[int]:
        torch.set_num_threads(usable_cores())
        with torch.inference_mode():
            return [int(network(transform(Image.open(file).convert("RGB")).unsqueeze(0)).argmax()) for file in files]

    return run


def runtime_route(path: Path, files: Sequence[Path], mean: np.ndarray, std: np.ndarray) -> Route:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (fed,) = session.get_inputs()

    def tensor(file: Path) -> np.ndarray:
        image = Image.open(file).convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize([int(side * scale + 1e-6) for side in image.size], Image.Resampling.BICUBIC)
        left, top = (round((side - SIDE_PX) / 2) for side in image.size)
        kept = image.crop((left, top, left + SIDE_PX, top + SIDE_PX))
        values = (np.asarray(kept, np.float32) / 255 - mean) / std
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None])

    return lambda: [int(session.run(None, {fed.name: tensor(file)})[0].argmax()) for file in files]


def our_route(model: Model, files: Sequence[Path], *, fast: bool, torch_is_there: bool = True) -> Route:
    place = {label: index for index, label in enumerate(model.labels.ids)}

    def run() -> list[int]:
        with patch.object(
            fast_path, "has_module", lambda name: has_module(name) and (torch_is_there or name != "torch")
        ):
            return [place[p.result.top[0][0]] for p in model.predict(list(files), top=1, fast=fast) if p.result]

    return run


def exported_for(target: str, model: ModelFile) -> Exported:
    """As `export --target TARGET` leaves the model."""
    return export_best(model).exported if target == "best" else export_model(model, target=target)


def in_bfloat16(path: Path, model: Model, folder: Path) -> Model:
    """The model with OpenVINO's bfloat16 file of the same weights."""
    source, target = ModelFile.open(path), find_target("openvino")
    file = folder / f"bfloat16{target.suffix}"
    facts = facts_of(source.record, precision="bfloat16", weights_sha256=source.weights_sha256)
    target.export(source_of(source), file, facts=facts)
    loaded = load(file)
    return replace(loaded, preprocess=replace(model.preprocess, layout=loaded.preprocess.layout))


def rescaled(network: nn.Module, files: Sequence[Path]) -> nn.Module:
    """The network with a classifier whose logits have mean 0 and deviation 1 over the photos."""
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    classifier = network.get_classifier()
    torch.set_num_threads(1)
    with torch.inference_mode():
        logits = torch.cat([network(transform(Image.open(f).convert("RGB"))[None]) for f in files[:64]])
        classifier.weight.div_(logits.std(0)[:, None])
        classifier.bias.copy_((classifier.bias - logits.mean(0)) / logits.std(0))
    return network


def prepared_ms(prepare: Prepare, files: Sequence[Path]) -> float:
    """Milliseconds of one core for a picture, the best of three passes."""
    torch.set_num_threads(1)
    times = []
    for _ in range(3):
        start = time.thread_time()
        for file in files:
            prepare(file)
        times.append((time.thread_time() - start) / len(files) * 1e3)
    return min(times)


def answered_ms(model: Model, batch: int = BATCH) -> float:
    """Milliseconds of one core for an image in the network, in the batches of a long stream."""
    session, record = model.reopen(), model.preprocess
    shape = (record.channels, *record.size_px) if record.layout == "nchw" else (*record.size_px, record.channels)
    data = np.random.default_rng(0).standard_normal((batch, *shape)).astype(np.float32)
    times = []
    for _ in range(25):
        start = time.perf_counter()
        session.run(data)
        times.append((time.perf_counter() - start) / batch * 1e3)
    return float(np.median(times[5:]))


@dataclass(frozen=True)
class Contest:
    """What is timed side by side; the answers are held against those of the first of `theirs`."""

    name: str
    record: Preprocess
    theirs: dict[str, Route]
    float32: Model
    bfloat16: Model | None
    notes: tuple[str, ...]


TIMM, RUNTIME = "timm's loop", "ONNX Runtime + Pillow"


@contextmanager
def untrained(name: str, files: Sequence[Path], target: str) -> Iterator[Contest]:
    """timm's network of random weights, in timm, in ONNX as torch exports it, and imported by us."""
    network = rescaled(filled(timm.create_model(name, num_classes=1000)), files)
    config = timm.data.resolve_model_data_config(network)
    mean, std = np.array(config["mean"], np.float32), np.array(config["std"], np.float32)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(place)
        torch.save(network.state_dict(), folder / f"{name}.pth")
        torch.onnx.export(network, (torch.rand(1, 3, SIDE_PX, SIDE_PX),), folder / "theirs.onnx", verbose=False)
        made = import_model(folder / f"{name}.pth", out=folder / "model")
        record = replace(
            ModelFile.open(Path(made.model)).record.preprocess,
            size_px=(SIDE_PX, SIDE_PX), fit="short_then_crop", crop_ratio=config["crop_pct"],
            interpolation=config["interpolation"], mean=tuple(config["mean"]), std=tuple(config["std"]),
        )  # fmt: skip
        theirs = {
            TIMM: timm_route(network, files),
            RUNTIME: runtime_route(folder / "theirs.onnx", files, mean, std),
        }
        yield ours(name, Path(made.model), record, theirs, target, folder)


@contextmanager
def trained(path: Path, files: Sequence[Path], target: str) -> Iterator[Contest]:
    """A model file, and its network in ONNX as `export` writes it; both see what timm's loop would show them."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        copy = shutil.copytree(path, folder / "model") if path.is_dir() else shutil.copy(path, folder / "model.zip")
        model = ModelFile.open(Path(copy))
        record = replace(model.record.preprocess, fit="short_then_crop", crop_ratio=0.875, interpolation="bicubic")
        exported = export_model(model, target="onnx", out=folder / "theirs.onnx")
        mean, std = (np.array(values, np.float32) for values in (record.mean, record.std))
        theirs = {RUNTIME: runtime_route(Path(exported.file), files, mean, std)}
        yield ours(f"{model.record.name}, trained", Path(copy), record, theirs, target, folder)


def ours(name: str, path: Path, record: Preprocess, theirs: dict[str, Route], target: str, folder: Path) -> Contest:
    exported = exported_for(target, ModelFile.open(path))
    model = load(exported.model.path, target=exported.target)
    model = replace(model, preprocess=replace(record, layout=model.preprocess.layout))
    half = in_bfloat16(path, model, folder) if has_bfloat16() else None
    return Contest(name, record, theirs, model, half, (f"ours in float32: {exported.target}",))


def compare(contest: Contest, files: Sequence[Path], *, rounds: int) -> list[str]:
    record, model, half = contest.record, contest.float32, contest.bfloat16
    routes = {
        **contest.theirs,
        "ours, full install": our_route(model, files, fast=True),
        "ours, without torch": our_route(model, files, fast=True, torch_is_there=False),
        "ours, Pillow alone": our_route(model, files, fast=False),
    }
    if half is not None:
        routes["ours, bfloat16"] = our_route(half, files, fast=True)
    answers = {route: run() for route, run in routes.items()}
    times: dict[str, list[float]] = {route: [] for route in routes}
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        for index in rng.permutation(len(routes)):
            route = list(routes)[index]
            start = time.perf_counter()
            routes[route]()
            times[route].append(time.perf_counter() - start)
    _, by_pillow = fast_path.ways_for(record, len(files), asked=True)
    prepares = {
        "ours, full install": way_of(model, files),
        "ours, without torch": by_pillow.preparing(model.preprocess),
        "ours, Pillow alone": preparing(model.preprocess),
    }
    answering = dict.fromkeys(prepares, answered_ms(model))
    if half is not None:
        prepares["ours, bfloat16"] = way_of(half, files)
        answering["ours, bfloat16"] = answered_ms(half)
    parts = {route: prepared_ms(prepare, files) for route, prepare in prepares.items()}
    speed = {route: len(files) / float(np.median(seconds)) for route, seconds in times.items()}
    reference = answers[next(iter(contest.theirs))]
    lines = []
    for route in routes:
        same = float(np.mean([a == b for a, b in zip(answers[route], reference, strict=True)]))
        to_timm = f"{speed[route] / speed[TIMM]:.2f}" if TIMM in speed else ""
        bound = ""
        if route in parts:
            most = usable_cores() * 1e3 / (parts[route] + answering[route])
            bound = f"{parts[route]:.2f} + {answering[route]:.2f} ms: {most:.0f}/s, reached {speed[route] / most:.0%}"
        lines.append(
            f"| {contest.name} | {route} | {speed[route]:.0f} | {to_timm} | {speed[route] / speed[RUNTIME]:.2f} "
            f"| {same:.1%} of {len(set(reference))} labels | {bound} |"
        )
    notes = list(contest.notes)
    for words, one in (("float32", model), ("bfloat16", half)):
        if one is not None and (refused := [way for way, passed in one._kept.ways.items() if not passed]):
            notes.append(f"refused by the gate in {words}, so the next way was taken: {', '.join(refused)}")
    return [*lines, *(f"| {contest.name} | {note} | | | | | |" for note in notes)]


def way_of(model: Model, files: Sequence[Path]) -> Prepare:
    """The way by which the model's pictures went: the first that its gate let pass."""
    for way in fast_path.ways_for(model.preprocess, len(files), asked=True):
        if model._kept.ways.get(way.name):
            return way.preparing(model.preprocess)
    return preparing(model.preprocess)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--target", default="best")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--trained", type=Path, nargs="*", default=(), help="model files, without timm's loop")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args(arguments)
    files = sorted(f for f in options.photos.iterdir() if f.suffix.lower() in (".jpg", ".jpeg"))
    machine = this_machine()
    versions = ", ".join(f"{name} {version}" for name, version in (machine.versions or {}).items())
    lines = [
        "# From JPEG file to label",
        "",
        f"`python benchmarks/labelling.py PHOTOS --rounds {options.rounds} --target {options.target}"
        f"{' --trained MODEL...' if options.trained else ''}`, "
        f"{time.strftime('%Y-%m-%d')}. {machine.cpu}, {machine.cores} cores, {', '.join(machine.isa)}; "
        f"load {machine.load:g} at the start. timm {timm.__version__}, {versions}. {len(files)} photos, "
        "float32 where nothing else is said; medians of interleaved rounds after one that is not counted, in which "
        "every route opens its sessions and ours asks the gate of its fast path.",
        "",
        "| network | route | images/s | to timm | to ONNX Runtime + Pillow | same top-1 as the first | bound |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    contests = [untrained(name, files, options.target) for name in filter(None, options.networks.split(","))]
    contests += [trained(path, files, options.target) for path in options.trained]
    for opened in contests:
        with opened as contest:
            for line in compare(contest, files, rounds=options.rounds):
                sys.stderr.write(f"{line}\n")
                lines.append(line)
    if not has_bfloat16():
        lines += ["", "This CPU has no bfloat16 arithmetic: that row was not measured."]
    text = "\n".join(lines) + "\n"
    if options.out:
        options.out.write_text(text)
    else:
        print(text)  # noqa: T201


if __name__ == "__main__":
    main()
