"""Splits of our own making: seeded, stratified by class, never through a group; written down as JSON and read back.

A file's place follows from the seed and its relative name alone (a hash), not from the order in which a disk lists
files, and adding pictures moves few of the old ones.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..codec import from_json, to_json
from ..errors import BadData
from ..files import write_atomic
from ..records import SPLITS, Labels, Split, UnreadableFile
from .dataset import Dataset, Sample

Fractions = Mapping[Split, float]
EIGHT_ONE_ONE: Fractions = {"train": 0.8, "val": 0.1, "test": 0.1}
_FORMAT = 1


def seeded_split(
    samples: Sequence[Sample], keys: Sequence[str], *, fractions: Fractions, seed: int
) -> dict[Split, tuple[Sample, ...]]:
    """`samples` in up to three splits, each class in about the same shares, each group whole.

    Args:
        keys: one per sample, unique: its name relative to the data set, with forward slashes.
        fractions: share per split, summing to 1; a split left out gets nothing. "train" must be in it.

    A class of n gets round(n * share), and at least 1, in each other split as long as one image is left to train on:
    with 2 images 1 goes to test before val, with 1 it stays in train. With groups the shares are only approached.
    """
    if any(sample.group for sample in samples):
        chosen = _by_group(samples, keys, fractions, seed)
    else:
        chosen = _by_class(samples, keys, fractions, seed)
    ordered = sorted(range(len(samples)), key=lambda i: (samples[i].target, keys[i]))
    return {split: tuple(samples[i] for i in ordered if chosen[i] == split) for split in SPLITS}


def _rank(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogateescape")).digest()


def _wanted(count: int, fractions: Fractions) -> dict[Split, int]:
    """Images of a class of `count` per split other than train."""
    left = count - 1
    wanted: dict[Split, int] = {}
    for split in ("test", "val"):
        share = fractions.get(split, 0.0)
        wanted[split] = min(left, max(1, int(count * share + 0.5))) if share > 0 else 0
        left -= wanted[split]
    return wanted


def _by_class(samples: Sequence[Sample], keys: Sequence[str], fractions: Fractions, seed: int) -> list[Split]:
    members: dict[int, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        members[sample.target].append(index)
    chosen: list[Split] = ["train"] * len(samples)
    for indices in members.values():
        indices.sort(key=lambda i: _rank(seed, keys[i]))
        wanted = _wanted(len(indices), fractions)
        for index in indices[: wanted["test"]]:
            chosen[index] = "test"
        for index in indices[wanted["test"] : wanted["test"] + wanted["val"]]:
            chosen[index] = "val"
    return chosen


def _by_group(samples: Sequence[Sample], keys: Sequence[str], fractions: Fractions, seed: int) -> list[Split]:
    """Whole groups, one after the other, each to the split that lacks its classes most; every class trains first."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, (sample, key) in enumerate(zip(samples, keys, strict=True)):
        groups[f"g:{sample.group}" if sample.group else f"f:{key}"].append(index)
    content = {name: Counter(samples[i].target for i in indices) for name, indices in groups.items()}
    totals = Counter(sample.target for sample in samples)
    lacking: dict[Split, dict[int, float]] = {
        split: {target: count * fractions.get(split, 0.0) for target, count in totals.items()} for split in SPLITS
    }
    order = sorted(groups, key=lambda name: _rank(seed, name))
    trained: set[int] = set()
    for target in sorted(totals, key=lambda t: (sum(t in c for c in content.values()), t)):
        if target not in trained:
            # The smallest group that holds the class: the others stay free to fill val and test.
            name = min((n for n in order if target in content[n]), key=lambda n: sum(content[n].values()))
            trained |= content[name].keys()
            order.remove(name)
            order.insert(0, name)
    chosen: list[Split] = ["train"] * len(samples)
    seen: set[int] = set()
    for name in order:
        new_class = bool(content[name].keys() - seen)
        split: Split = "train" if new_class else _neediest(content[name], lacking, totals)
        if split == "train":
            seen |= content[name].keys()
        for target, count in content[name].items():
            lacking[split][target] -= count
        for index in groups[name]:
            chosen[index] = split
    return chosen


def _neediest(content: Counter[int], lacking: Mapping[Split, Mapping[int, float]], totals: Counter[int]) -> Split:
    def need(split: Split) -> float:
        return sum(count * lacking[split][target] / totals[target] for target, count in content.items())

    return max(SPLITS, key=need)


# --- written down -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SplitEntry:
    path: str
    label: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class SplitFile:
    """What a split file holds. `root` is the folder that paths are relative to; a path outside it is absolute."""

    format: int
    name: str
    root: str
    origin: str
    labels: Labels
    train: tuple[SplitEntry, ...]
    val: tuple[SplitEntry, ...]
    test: tuple[SplitEntry, ...]
    unreadable: tuple[UnreadableFile, ...] = ()


def write_split(dataset: Dataset, path: Path) -> None:
    """Write down which file is in which split, as JSON that `read_split` and `open_dataset` read back."""

    def entries(split: Split) -> tuple[SplitEntry, ...]:
        labels = dataset.labels.ids
        return tuple(SplitEntry(dataset.relative(s.file), labels[s.target], s.group) for s in dataset.split(split))

    record = SplitFile(
        format=_FORMAT,
        name=dataset.name,
        root=str(dataset.root.resolve()),
        origin=dataset.split_origin,
        labels=dataset.labels,
        train=entries("train"),
        val=entries("val"),
        test=entries("test"),
        unreadable=dataset.unreadable,
    )
    write_atomic(path, to_json(record) + "\n")


def read_split(path: Path, *, root: Path | None = None) -> Dataset:
    """The data set whose split was written to `path`: the same files in the same splits, whatever was added since.

    root: where the pictures are now, if they moved. Raises BadData for a file that is no split file, or names
    pictures that are not there.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{path}: can't be read as a split file: {error}") from error
    record = from_json(SplitFile, text, where=str(path))
    if record.format != _FORMAT:
        raise BadData(f"{path}: split file of format {record.format}; this version reads format {_FORMAT}")
    base = root if root is not None else Path(record.root)
    place = {label: index for index, label in enumerate(record.labels.ids)}

    def samples(split: Split, entries: tuple[SplitEntry, ...]) -> tuple[Sample, ...]:
        for index, entry in enumerate(entries):
            if entry.label not in place:
                raise BadData(f"{path}: {split}[{index}].label: {entry.label!r} is not among the labels")
        return tuple(Sample(base / entry.path, place[entry.label], entry.group) for entry in entries)

    dataset = Dataset(
        name=record.name,
        root=base,
        labels=record.labels,
        train=samples("train", record.train),
        val=samples("val", record.val),
        test=samples("test", record.test),
        unreadable=record.unreadable,
        split_origin=record.origin,
    )
    gone = [sample.file for sample in dataset.samples if not sample.file.is_file()]
    if gone:
        raise BadData(
            f"{path}: {len(gone)} of its {len(dataset.samples)} pictures are not there, the first {gone[0]}",
            hint="if the pictures moved, say where they are now (root)",
        )
    return dataset
