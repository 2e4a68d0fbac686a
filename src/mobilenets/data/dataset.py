"""A labelled collection of image files as a value: which files, which class, which split. Reads no pixels."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import BadData, UnknownName
from ..files import sha256
from ..records import SPLITS, ClassCount, Labels, Split, UnreadableFile


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image file. target: index into the data set's labels. group: "" or the name of what the picture
    belongs to (a person, a video, a shelf): pictures of one group never stand in two splits."""

    file: Path
    target: int
    group: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled image files in three splits.

    root: the folder that paths are told relative to. unreadable: files that were listed and left out (of no size,
    missing, or found so by the health check). split_origin: where the splits come from, in words. notes: what a
    reader of the data should know, one sentence each.
    """

    name: str
    root: Path
    labels: Labels
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    unreadable: tuple[UnreadableFile, ...] = ()
    split_origin: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for sample in self.samples:
            if not 0 <= sample.target < len(self.labels):
                raise BadData(f"{sample.file}: class {sample.target} of {len(self.labels)} classes")

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All of them: train, val, test."""
        return self.train + self.val + self.test

    def split(self, name: Split) -> tuple[Sample, ...]:
        """The samples of "train", "val" or "test"."""
        match name:
            case "train":
                return self.train
            case "val":
                return self.val
            case "test":
                return self.test
        raise UnknownName(f"no split called {name!r}; there are {', '.join(SPLITS)}")

    def held_out(self) -> tuple[Sample, ...]:
        """What a finished network is tried on: the test samples, where there are none val's, else all."""
        return self.test or self.val or self.samples

    def counts(self) -> tuple[ClassCount, ...]:
        """Images per class and split, in the order of the labels."""
        per = {split: Counter(s.target for s in self.split(split)) for split in SPLITS}
        return tuple(
            ClassCount(label, *(per[split][target] for split in SPLITS)) for target, label in enumerate(self.labels.ids)
        )

    def relative(self, file: Path) -> str:
        """`file` as it is told to people: relative to the root where it lies under it, with forward slashes."""
        return (file.relative_to(self.root) if file.is_relative_to(self.root) else file).as_posix()

    def fingerprint(self) -> str:
        """SHA-256 over every file's bytes, label and split; 64 hex digits.

        Neither names of files nor the order in which a disk lists them take part. Reads every file once.
        Raises BadData for a file that has gone.
        """
        try:
            with ThreadPoolExecutor() as pool:
                hashes = list(pool.map(sha256, (sample.file for sample in self.samples)))
        except OSError as error:
            raise BadData(f"{error.filename}: can't be read: {error.strerror}") from error
        names = [split for split in SPLITS for _ in self.split(split)]
        lines = sorted(
            f"{split}\t{self.labels.ids[sample.target]}\t{digest}\n"
            for split, sample, digest in zip(names, self.samples, hashes, strict=True)
        )
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def without_files(dataset: Dataset, unreadable: Iterable[UnreadableFile]) -> Dataset:
    """`dataset` less the files named, as `DataHealth` or `Pictures` name them; they move to its `unreadable`."""
    told = {str(sample.file): dataset.relative(sample.file) for sample in dataset.samples}
    listed = (replace(entry, file=told.get(entry.file, entry.file)) for entry in (*dataset.unreadable, *unreadable))
    found = {entry.file: entry for entry in listed}

    def kept(split: Split) -> tuple[Sample, ...]:
        return tuple(sample for sample in dataset.split(split) if told[str(sample.file)] not in found)

    return replace(dataset, train=kept("train"), val=kept("val"), test=kept("test"), unreadable=tuple(found.values()))


def with_labels(dataset: Dataset, labels: Labels, class_map: Mapping[str, str] | None = None) -> Dataset:
    """`dataset` with its targets counted in the order of `labels` (a model's).

    A label of the data is matched by the model's unique label, else by a name that only one of its classes has
    (capitals, and _ for a space, do not count). class_map: label of the data -> label or name of the model, for those
    that are called otherwise; several may lead to one class.

    Labels that only `labels` has get no images. Raises BadData naming the data set's labels that it lacks, or a name
    that several classes share.
    """
    place = {label: index for index, label in enumerate(labels.ids)}
    named: dict[str, list[int]] = {}
    for index in range(len(labels)):
        named.setdefault(_plain(labels.name(index)), []).append(index)
    ids = dataset.labels.ids
    used = sorted({ids[sample.target] for sample in dataset.samples})
    found: dict[str, int] = {}
    for label in used:
        wanted = (class_map or {}).get(label, label)
        same = named.get(_plain(wanted), [])
        if wanted in place:
            found[label] = place[wanted]
        elif len(same) == 1:
            found[label] = same[0]
        elif same:
            which = ", ".join(labels.ids[i] for i in same)
            raise BadData(
                f"{dataset.name}: {wanted!r} is the name of {len(same)} classes of the model: {which}",
                hint="call it by its label, or say which with a class map",
            )
    missing = [label for label in used if label not in found]
    if missing:
        shown = ", ".join(map(repr, missing[:3])) + (", ..." if len(missing) > 3 else "")
        raise BadData(
            f"{dataset.name}: {len(missing)} of its {len(used)} labels are unknown to the model: {shown}",
            hint=f"the model knows {len(labels)} labels, the first {', '.join(map(repr, labels.ids[:3]))}",
        )

    def moved(split: Split) -> tuple[Sample, ...]:
        return tuple(replace(sample, target=found[ids[sample.target]]) for sample in dataset.split(split))

    return replace(dataset, labels=labels, train=moved("train"), val=moved("val"), test=moved("test"))


def _plain(name: str) -> str:
    return name.replace("_", " ").casefold().strip()
