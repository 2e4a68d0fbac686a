"""Splits of our own making: seeded, stratified by class, never through a group.

A file's place follows from the seed and its relative name alone (a hash), not from the order in which a disk lists
files, and adding pictures moves few of the old ones.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from ..records import SPLITS, Split
from .dataset import Sample

Fractions = Mapping[Split, float]
EIGHT_ONE_ONE: Fractions = {"train": 0.8, "val": 0.1, "test": 0.1}


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
    ranked = sorted(groups, key=lambda name: _rank(seed, name))
    holders: dict[int, list[str]] = defaultdict(list)
    for name in ranked:
        for target in content[name]:
            holders[target].append(name)
    first: dict[str, None] = {}
    for target in sorted(holders, key=lambda target: (len(holders[target]), target)):
        if not any(name in first for name in holders[target]):
            # The smallest group that holds the class trains: the others stay free to fill val and test.
            first[min(holders[target], key=lambda name: len(groups[name]))] = None
    chosen: list[Split] = ["train"] * len(samples)
    for name in (*first, *(name for name in ranked if name not in first)):
        split: Split = "train" if name in first else _neediest(content[name], lacking, totals)
        for target, count in content[name].items():
            lacking[split][target] -= count
        for index in groups[name]:
            chosen[index] = split
    return chosen


def _neediest(content: Counter[int], lacking: Mapping[Split, Mapping[int, float]], totals: Counter[int]) -> Split:
    def need(split: Split) -> float:
        return sum(count * lacking[split][target] / totals[target] for target, count in content.items())

    return max(SPLITS, key=need)
