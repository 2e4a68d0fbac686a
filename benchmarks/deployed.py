"""What `export --target best` picks, beside what a user of timm would run today: one thread, batch 1, in one run.

    python benchmarks/deployed.py [--rounds 40] [--networks mobilenetv2_100,...] [--litert FOLDER] [--shared SHARED]
                                  [-o benchmarks/deployed.md]

Peers are timm's own networks: eager (NCHW and channels last), torch.compile, ONNX Runtime and OpenVINO (float32, and as
it comes) of `torch.onnx.export`, LiteRT of litert-torch's conversion where --litert holds it: NAME.tflite written by
`benchmarks/litert_peers.py` in an environment of its own. Weights are random with filled statistics, the same in all:
ours come through `import` of timm's state dict. Every round runs each once in an order drawn anew, each timed run right
after an untimed one; ours runs twice (A/A), and ratios inside that spread mean nothing. A peer whose answers are
further than 2e-4 from eager's is shown and not counted. On a CPU that has bfloat16, what `best` picks with that allowed
is timed too and set against ONNX Runtime; its gate may refuse bfloat16 for random weights, which amplify rounding:
`benchmarks/bfloat16.py` has trained ones.
--shared: the folder with weights/ and data/imagenet200/; really trained networks are then held to their answers.
"""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import timm
import torch
from deployed_networks import NETWORKS, SIDE_PX, filled
from numpy.typing import NDArray

from mobilenets.bundle import ModelFile
from mobilenets.deploy import find_target
from mobilenets.deploy.best import export_best
from mobilenets.deploy.embedded import as_fed
from mobilenets.deploy.machine import has_bfloat16, this_machine
from mobilenets.deploy.run import load
from mobilenets.deploy.trained import runner, trained_network
from mobilenets.importing import Changes, import_model

Floats = NDArray[np.float32]
Run = Callable[[], Floats]
EQUAL = 2e-4
HALF = "ours, bfloat16 allowed"
TRAINED = (
    "coral/tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "greenwaves/mobilenet_v3_large_minimalistic_1_0_224_quant.tflite",
    "keras-mobilenet-v1/mobilenet_v1_0.25_224.h5",
)


@dataclass(frozen=True)
class Timed:
    """One way to run a network. error: largest difference to timm's eager answers over the largest of them."""

    name: str
    error: float
    ms: float


def theirs(name: str, x: torch.Tensor, folder: Path, litert: Path | None) -> Iterator[tuple[str, Run]]:
    model = filled(timm.create_model(name, num_classes=1000))
    torch.save(model.state_dict(), folder / f"{name}.pth")
    image = x.numpy()

    def torch_run(net: Callable[[torch.Tensor], torch.Tensor], given: torch.Tensor) -> Run:
        def run() -> Floats:
            with torch.inference_mode():
                return net(given).numpy()

        return run

    yield "torch eager", torch_run(model, x)
    last = x.to(memory_format=torch.channels_last)
    yield "torch eager, channels last", torch_run(model.to(memory_format=torch.channels_last), last)
    yield "torch.compile", torch_run(torch.compile(model), last)
    path = folder / f"{name}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model.to(memory_format=torch.contiguous_format), (x,), path, dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (fed,) = session.get_inputs()
    yield "ONNX Runtime", lambda: session.run(None, {fed.name: image})[0]
    core = openvino.Core()
    for title, hint in (("OpenVINO float32", {"INFERENCE_PRECISION_HINT": "f32"}), ("OpenVINO as it comes", {})):
        compiled = core.compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": 1, **hint})
        yield title, lambda compiled=compiled: np.array(compiled(image)[0])
    if litert is not None:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(litert / f"{name}.tflite"), num_threads=1)
        interpreter.allocate_tensors()
        into, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        given = image if into["shape"][1] == 3 else np.ascontiguousarray(image.transpose(0, 2, 3, 1))

        def run_litert() -> Floats:
            interpreter.set_tensor(into["index"], given)
            interpreter.invoke()
            return np.array(interpreter.get_tensor(out["index"]))

        yield "LiteRT (litert-torch)", run_litert


def imported(name: str, folder: Path) -> ModelFile:
    """timm's weights as `import` brings them."""
    made = import_model(folder / f"{name}.pth", out=folder / name, changes=Changes(resolution_px=(SIDE_PX, SIDE_PX)))
    return ModelFile.open(Path(made.model))


def ours(model: ModelFile, x: Floats, precisions: Sequence[str]) -> tuple[str, Run, Run]:
    """What `export --target best` makes of a model; loaded twice."""
    best = export_best(model, precisions=precisions, max_seconds=60.0)
    exported, target = best.exported, find_target(best.exported.target)
    path = exported.model.local(exported.file)

    def loaded() -> Run:
        session = target.open(path, threads=1)
        record = model.record.preprocess
        given = as_fed(x, record, record if session.facts is None else session.facts.preprocess)
        return lambda: np.asarray(session.run(given))

    return f"{exported.target} {exported.precision}", loaded(), loaded()


def timed(runs: dict[str, Run], reference: Floats, *, rounds: int, seed: int = 0) -> list[Timed]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    errors = {name: float(np.abs(run() - reference).max() / np.abs(reference).max()) for name, run in runs.items()}
    rng = np.random.default_rng(seed)
    names = list(runs)
    for turn in range(rounds + 3):
        for index in rng.permutation(len(names)):
            run = runs[names[index]]
            run()
            start = time.perf_counter_ns()
            run()
            if turn >= 3:
                times[names[index]].append((time.perf_counter_ns() - start) / 1e6)
    return [Timed(name, errors[name], float(np.median(times[name]))) for name in names]


def compare(name: str, *, rounds: int, litert: Path | None) -> Iterator[str]:
    x = torch.rand((1, 3, SIDE_PX, SIDE_PX), generator=torch.Generator().manual_seed(1)) * 2 - 1
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        runs = dict(theirs(name, x, folder, litert))
        reference = next(iter(runs.values()))()
        model = imported(name, folder)
        picked, runs["ours"], runs["ours again"] = ours(model, x.numpy(), ("float32",))
        titles = {"ours": f"**ours: {picked}**"}
        if has_bfloat16():
            picked, runs[HALF], _ = ours(ModelFile.open(model.path), x.numpy(), ("float32", "bfloat16"))
            titles[HALF] = f"**{HALF}: {picked}**"
        found = timed(runs, reference, rounds=rounds)
    by_name = {one.name: one for one in found}
    aa = by_name["ours again"].ms / by_name["ours"].ms
    equal = [one for one in found if not one.name.startswith("ours") and one.error <= EQUAL]
    best = min(equal, key=lambda one: one.ms)
    for one in found:
        counted = "" if one.error <= EQUAL else " (other answers: not counted)"
        title = f"{titles.get(one.name, one.name)}{counted}"
        yield f"| {name} | {title} | {one.error:.1e} | {one.ms:.2f} | {by_name['ours'].ms / one.ms:.3f} |"
    yield f"| {name} | best peer: {best.name}; A/A {max(aa, 1 / aa):.3f} | | | **{by_name['ours'].ms / best.ms:.3f}** |"
    if HALF in by_name:
        yield f"| {name} | {HALF}, to ONNX Runtime | | | **{by_name[HALF].ms / by_name['ONNX Runtime'].ms:.3f}** |"


def trained(shared: Path) -> Iterator[str]:
    """Really trained networks: the picked file against the network in torch, on 200 photos."""
    from mobilenets.data import open_dataset
    from mobilenets.deploy.pictures import batches, tensors

    photos = [str(sample.file) for sample in open_dataset(str(shared / "data" / "imagenet200" / "labels.csv")).samples]
    yield "| network | picked | photos | equal answers | largest difference |"
    yield "| --- | --- | --- | --- | --- |"
    for name in TRAINED:
        with tempfile.TemporaryDirectory() as place:
            made = import_model(shared / "weights" / name, out=Path(place, "model"))
            best = export_best(ModelFile.open(Path(made.model)))
            model = load(best.exported.model.path, target=best.exported.target, threads=1)
            record = best.exported.model.record.preprocess
            stream = tensors(((file, file) for file in photos), record, workers=2, ahead=32)
            parts = [batch for _, batch in batches(stream, 16) if batch is not None]
            run = runner(trained_network(best.exported.model))
            reference = np.concatenate([run(part)[0] for part in parts])
            found = np.concatenate([model.session.run(as_fed(part, record, model.preprocess)) for part in parts])
        share = float((reference.argmax(1) == found.argmax(1)).mean())
        error = float(np.abs(reference - found).max() / np.abs(reference).max())
        kind = f"{best.exported.target} {best.exported.precision}"
        yield f"| {name} | {kind} | {len(found)} | {100 * share:.1f} % | {error:.1e} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--litert", type=Path)
    parser.add_argument("--shared", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    machine = this_machine()
    versions = ", ".join(f"{name} {version}" for name, version in (machine.versions or {}).items())
    lines = [
        "# `export --target best` beside timm's routes",
        "",
        f"`python benchmarks/deployed.py --rounds {options.rounds}`, {time.strftime('%Y-%m-%d')}. {machine.cpu}, "
        f"{machine.cores} cores, {', '.join(machine.isa)}; load {machine.load:g} at the start. "
        f"Python {machine.python}, timm {timm.__version__}, {versions}. "
        f"One thread, batch 1, {SIDE_PX} px, random weights; medians.",
        "",
        "bfloat16: " + ("this CPU has it." if has_bfloat16() else "this CPU has none, so nothing of it is shown here."),
        "",
        "| network | route | error | ms | ours / it |",
        "| --- | --- | --: | --: | --: |",
    ]
    for name in options.networks.split(","):
        sys.stderr.write(f"{name}\n")
        for line in compare(name, rounds=options.rounds, litert=options.litert):
            sys.stderr.write(f"{line}\n")
            lines.append(line)
    if options.shared is not None:
        lines += ["", "## Really trained networks", "", *trained(options.shared)]
    text = "\n".join(lines) + "\n"
    if options.out is not None:
        options.out.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
