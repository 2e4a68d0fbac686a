"""`mobilenets fit --weights` on few photos a class: against a linear probe on the same features, and from scratch.

    python benchmarks/transfer.py WEIGHTS DATA [--photos 8 4 1] [--side 128] [--epochs 6] [-o benchmarks/transfer.md]

The probe: scikit-learn's LogisticRegression on the network's embeddings of the training photos, computed from the
published file as `fit` would feed them; C of 0.1, 1 or 10 chosen by cross-validation (1 where a class has one photo).
From scratch: the same network, size and number of epochs, the recipe that fit takes for photos. With 4 and 1 photos a
class training sees them up to 4 times as often, for about as many steps. Differences are paired on the test photos:
mean over seeds, with a 95 % interval from resampling photos. `fit` also looks at val, as it always does (which epoch,
how much of the start to keep); the probe does not. Rows are appended as they come.
"""

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from mobilenets.data import Dataset, Sample, open_dataset
from mobilenets.deploy.machine import this_machine
from mobilenets.fitting import train_run
from mobilenets.models import Network, build, load_exact
from mobilenets.specs import Spec, with_classes, with_resolution
from mobilenets.starting import Start, fed_as_start, open_start
from mobilenets.train import predict_outputs, read_config
from mobilenets.train.state import load_tensors, load_weights

Right = NDArray[np.bool_]
HEAD = """# Transfer: from published weights to few photos a class

By `python benchmarks/transfer.py WEIGHTS DATA`; what is compared stands at the top of that file.
"""
COLUMNS = (
    "\n| photos a class | seed | fit --weights | linear probe | from scratch | epochs | seconds, weights and scratch "
    f"| what came of the weights |\n{'| --- ' * 8}|\n"
)


@dataclass(frozen=True)
class Job:
    """What stays the same over all rows."""

    data: Path
    weights: str
    start: Start
    spec: Spec
    side: int


def fewer(data: Path, per_class: int, seed: int, folder: Path) -> Path:
    """The data set with so many training photos a class, drawn by the seed; val and test as they are."""
    random = np.random.default_rng(seed)
    for split in ("val", "test"):
        shutil.copytree(data / split, folder / split)
    for label in sorted(p for p in (data / "train").iterdir() if p.is_dir()):
        files = sorted(label.iterdir())
        (folder / "train" / label.name).mkdir(parents=True)
        for place in random.permutation(len(files))[:per_class]:
            shutil.copy(files[place], folder / "train" / label.name)
    return folder


def probe(job: Job, dataset: Dataset, *, per_class: int) -> Right:
    """Which test photos a logistic regression on frozen embeddings gets right."""
    network = build(with_classes(job.spec, 0))
    load_exact(network, {k: v for k, v in job.start.arrays.items() if not k.startswith("classifier.")})
    network.eval()

    def embedded(samples: tuple[Sample, ...]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        found = predict_outputs(network, samples, fed_as_start(job.start, job.spec))
        return found.outputs, found.targets

    known, targets = embedded(dataset.train)
    unknown, truth = embedded(dataset.test)
    strengths = (0.1, 1.0, 10.0)
    right = dict.fromkeys(strengths if per_class > 1 else (1.0,), 0.0)
    if per_class > 1:
        for kept, held in StratifiedKFold(min(4, per_class), shuffle=True, random_state=0).split(known, targets):
            for c in strengths:
                model = LogisticRegression(C=c, max_iter=1000).fit(known[kept], targets[kept])
                right[c] += float((model.predict(known[held]) == targets[held]).sum())
    model = LogisticRegression(C=max(right, key=lambda c: right[c]), max_iter=1000).fit(known, targets)
    return np.asarray(model.predict(unknown) == truth)


def trained(run: Path, dataset: Dataset) -> Right:
    """Which test photos the best weights of a run get right."""
    config = read_config(run)
    assert config.network is not None
    network = build(config.network)
    assert isinstance(network, Network)
    load_weights(network, load_tensors(run / "best.safetensors"))
    found = predict_outputs(network.eval(), dataset.test, config.preprocess)
    return np.asarray(found.outputs.argmax(1) == found.targets)


def difference(pairs: list[tuple[Right, Right]]) -> str:
    """Points by which the first ones are more often right, over all seeds, with the interval of resampled photos."""
    per_photo = np.mean([a.astype(float) - b.astype(float) for a, b in pairs], axis=0)
    drawn = np.random.default_rng(0).integers(0, len(per_photo), (10_000, len(per_photo)))
    low, high = np.percentile(per_photo[drawn].mean(1), [2.5, 97.5])
    return f"{100 * per_photo.mean():+.1f} points (95 %: {100 * low:+.1f} to {100 * high:+.1f})"


def percent(right: Right) -> str:
    return f"{100 * right.mean():.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("data", type=Path)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=6, help="with all photos")
    parser.add_argument("--photos", type=int, nargs="+", default=[8, 4, 1], help="a class, in training")
    parser.add_argument("--threads", type=int, default=1, help="of torch; on a busy machine 1 is the fastest")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, help="append to this table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    start = open_start(options.weights, network="auto", alpha=None)
    side = options.side
    job = Job(options.data, options.weights, start, with_resolution(start.spec, (side, side)), side)

    def say(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        if options.out:
            before = options.out.read_text() if options.out.is_file() else HEAD
            options.out.write_text(before + text)

    machine = this_machine()
    say(
        f"\n## {start.spec.name} {start.spec.alpha:g} from {start.origin.file}, {options.data.name}, {side} px\n\n"
        f"{machine.cpu}, {machine.cores} cores shared with others, torch {torch.__version__} on {options.threads}, "
        f"{time.strftime('%Y-%m-%d')}.\n{COLUMNS}"
    )
    most = min(len(list(p.iterdir())) for p in (options.data / "train").iterdir() if p.is_dir())
    for per_class in options.photos:
        epochs = options.epochs * min(4, round(most / per_class))
        against_probe, against_scratch = [], []
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder)
                data = options.data if per_class == most else fewer(options.data, per_class, seed, root / "data")
                dataset = open_dataset(str(data))
                linear = probe(job, dataset, per_class=per_class)
                begin = time.perf_counter()
                result = train_run(
                    data, weights=options.weights, resolution_px=(side, side), epochs=epochs, seed=seed,
                    out=root / "started",
                )  # fmt: skip
                seconds = [time.perf_counter() - begin]
                started = trained(root / "started", dataset)
                against_probe.append((started, linear))
                scratch = ""
                if per_class == most:
                    train_run(
                        data, network=start.spec.name, alpha=start.spec.alpha, resolution_px=(side, side),
                        epochs=epochs, seed=seed, out=root / "scratch",
                    )  # fmt: skip
                    seconds.append(time.perf_counter() - begin - seconds[0])
                    alone = trained(root / "scratch", dataset)
                    against_scratch.append((started, alone))
                    scratch = percent(alone)
                share = next((n for n in result.training.notes if n.startswith("weights: ")), "")
                say(
                    f"| {per_class} | {seed} | {percent(started)} | {percent(linear)} | {scratch} | {epochs} "
                    f"| {', '.join(f'{s:.0f}' for s in seconds)} | {share} |\n"
                )
        say(f"| {per_class} | all | | {difference(against_probe)} | "
            f"{difference(against_scratch) if against_scratch else ''} | | | |\n")  # fmt: skip


if __name__ == "__main__":
    main()
