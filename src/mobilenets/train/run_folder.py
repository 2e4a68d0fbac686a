"""The folder of a run: what was asked (config.json, split.json), what came out (results.csv, weights), its state.

    config.json           the resolved configuration; `fit --config` and `read_config` replay it
    split.json            which file was in which split
    resume.safetensors    the state between two steps (state.py)
    results.csv           one line per evaluation
    best.safetensors      the weights with the best metric on val; last.safetensors: those of the last evaluation
    start.safetensors     the weights before the first step, where the recipe may mix them with the trained ones
    training.json         the record of the run, written when it has ended

Each file is written whole or not at all. Only the leading process of a run writes.
"""

import csv
import hashlib
import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from torch import nn

from ..codec import encode, from_json, to_json
from ..data import Dataset, write_split
from ..errors import BadData, UsageError
from ..files import write_atomic
from ..records import SPLITS, EpochRow, Preprocess, Training
from ..specs import Spec
from .plan import Budget
from .recipe import Recipe
from .state import load_tensors, load_weights, read_header, save_weights

FORMAT = 1
REQUEST = "fit.json"
"""What a caller of `fit` asked for; written before the run begins."""
OWN = (
    "config.json", "resume.safetensors", "start.safetensors", "best.safetensors", "last.safetensors", "results.csv",
    "training.json",
)  # fmt: skip
"""What makes a folder one of a run; other files in it are let be."""
MAY_CHANGE = ("format", "device")
"""Fields of a configuration that a resumed run may differ in."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """A run's resolved configuration. network: None for one that is no spec of ours. listing: hash of the data set's
    relative paths, labels and splits. processes: of torchrun."""

    task: str
    data: str
    preprocess: Preprocess
    recipe: Recipe
    budget: Budget
    seed: int
    device: str
    processes: int
    listing: str
    network: Spec | None = None
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Best:
    """Which evaluation the weights of a file are of. recomputed: their batch-norm statistics were computed anew."""

    epoch: int
    step: int
    metric: float
    val_loss: float
    recomputed: bool = False

    def follows(self, other: "Best | None") -> bool:
        """Whether a later evaluation takes the place of an earlier one: its metric is as good, or there is none.

        Of equals the later wins: its learning rate is lower and its average longer. (Losses don't decide: they follow
        the confidence, which changes along a run.)
        """
        return other is None or not self.metric < other.metric

    def beats(self, other: "Best") -> bool:
        """Whether the same weights with other statistics are better: the metric, then the loss."""
        return (self.metric, -self.val_loss) > (other.metric, -other.val_loss)


def listing(dataset: Dataset) -> str:
    """SHA-256 over relative path, label and split of every file; 64 hex digits. Reads no file."""
    lines = (
        f"{split}\t{dataset.labels.ids[sample.target]}\t{dataset.relative(sample.file)}\n"
        for split in SPLITS
        for sample in dataset.split(split)
    )
    return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def read_config(path: Path) -> RunConfig:
    """The configuration of a run folder, or of a config.json. Raises UsageError where there is none, BadData for a
    damaged one or one of a newer version."""
    file = path / "config.json" if path.is_dir() else path
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: can't be read as a run's configuration: {error}") from error
    config = from_json(RunConfig, text, where=str(file))
    if config.format > FORMAT:
        raise BadData(f"{file}: format {config.format}; this version reads up to {FORMAT}")
    return config


def has_state(path: Path) -> bool:
    """Whether the run in `path` can go on, or has ended, with what its folder holds."""
    return (path / "resume.safetensors").is_file() or (path / "training.json").is_file()


def is_occupied(path: Path) -> bool:
    """Whether something is at `path` that a new run must not touch; what was asked of the run may lie there."""
    return path.exists() and (not path.is_dir() or any(entry.name != REQUEST for entry in path.iterdir()))


class RunFolder:
    """Opens `path` for a new run, or for resuming the one that is there.

    Raises: UsageError for a folder that is in use already (without `resume`), that holds no run, or whose run was
    configured otherwise (with it), naming the first difference.
    """

    def __init__(self, path: Path, config: RunConfig, dataset: Dataset, *, resume: bool, leads: bool) -> None:
        self.path, self._leads = path, leads
        self.state, self.start, self.best, self.last = (
            path / f"{n}.safetensors" for n in ("resume", "start", "best", "last")
        )
        if resume:
            _check_same(read_config(path), config, path, ended=self.finished() is not None)
        elif leads and (path.is_file() or any((path / name).exists() for name in OWN)):
            raise UsageError(f"{path}: exists already and is not overwritten", hint="resume it, or name another folder")
        elif leads:
            path.mkdir(parents=True, exist_ok=True)
            write_split(dataset, path / "split.json")
            write_atomic(path / "config.json", to_json(config) + "\n")

    def finished(self) -> Training | None:
        """The record of a run that has ended."""
        file = self.path / "training.json"
        return from_json(Training, file.read_text("utf-8"), where=str(file)) if file.is_file() else None

    def finish(self, training: Training) -> None:
        """Write the record; the state has no use any more and goes."""
        if self._leads:
            write_atomic(self.path / "training.json", to_json(training) + "\n")
            self.state.unlink(missing_ok=True)

    def best_so_far(self) -> Best | None:
        """What best.safetensors holds."""
        if not self.best.is_file():
            return None
        return from_json(Best, read_header(self.best), where=str(self.best))

    def keep(self, path: Path, network: nn.Module, best: Best) -> None:
        """Write the network's weights to `start`, `best` or `last`."""
        if self._leads:
            save_weights(path, network, header=to_json(best, indent=None))

    def load_best(self, network: nn.Module) -> None:
        load_weights(network, load_tensors(self.best))

    def write_results(self, history: tuple[EpochRow, ...]) -> None:
        """results.csv with these rows: whole each time, so that rows past a resumed state are gone."""
        if self._leads:
            text = io.StringIO()
            table = csv.writer(text, lineterminator="\n")
            table.writerow([field.name for field in fields(EpochRow)])
            table.writerows(
                [f"{value:.6g}" if isinstance(value, float) else value for value in asdict(row).values()]
                for row in history
            )
            write_atomic(self.path / "results.csv", text.getvalue())


def _check_same(old: RunConfig, new: RunConfig, path: Path, *, ended: bool) -> None:
    """A run that has ended is only read: then the number of processes may differ too."""
    for field in fields(RunConfig):
        was, asked = getattr(old, field.name), getattr(new, field.name)
        if was == asked or field.name in MAY_CHANGE or (ended and field.name == "processes"):
            continue
        place, was, asked = _first_difference(field.name, encode(was), encode(asked))
        raise UsageError(
            f"{path}: was begun with {place} {was!r}, not {asked!r}",
            hint="resume with the same configuration, or begin a new run in another folder",
        )


def _first_difference(place: str, was: object, asked: object) -> tuple[str, object, object]:
    """The innermost key at which two JSON values differ."""
    if isinstance(was, dict) and isinstance(asked, dict) and was.keys() == asked.keys():
        key = next(key for key in was if was[key] != asked[key])
        return _first_difference(f"{place}.{key}", was[key], asked[key])
    return place, was, asked
