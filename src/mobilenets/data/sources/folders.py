"""Class-per-folder data sets: one folder of pictures per class, under train / val / test or directly.

A class is a first-level folder; pictures at any depth below it belong to it. Hidden files and folders, and files whose
suffix is no picture's, are passed over. Symbolic links are followed, loops are not.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ...errors import BadData
from ...records import SPLITS, Labels, Split, UnreadableFile
from ..dataset import Dataset, Sample
from ..formats import SUFFIXES
from ..split import EIGHT_ONE_ONE, seeded_split

SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_PASSED_OVER = frozenset(("__macosx", "@eadir", "thumbs.db", "desktop.ini"))
_CARVED = 0.1


def class_folders(root: Path, *, seed: int) -> Dataset:
    """The data set in the folder `root`. Splits that the folders do not bring are made, stratified and seeded."""
    found = _split_folders(root)
    if found:
        listed: dict[Split, dict[str, list[Path]]] = {split: _classes(folder) for split, folder in found.items()}
    else:
        listed = {"train": _classes(root)}
    labels = Labels(ordered({name for classes in listed.values() for name in classes}))
    _must_have_classes(root, listed, labels)
    target = {label: index for index, label in enumerate(labels.ids)}
    unreadable: list[UnreadableFile] = []
    samples: dict[Split, list[Sample]] = {}
    for split, classes in listed.items():
        samples[split] = []
        for name in sorted(classes, key=lambda name: target[name]):
            for file in classes[name]:
                if fault := at_a_glance(file, file.relative_to(root).as_posix()):
                    unreadable.append(fault)
                else:
                    samples[split].append(Sample(file, target[name]))
    if not samples["train"]:
        raise BadData(f"{root}: no picture to train on", hint="put pictures into one folder per class")
    splits, origin = _completed(root, samples, seed, bool(found))
    return Dataset(
        name=root.resolve().name,
        root=root,
        labels=labels,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        unreadable=tuple(unreadable),
        split_origin=origin,
        notes=_passed_over(root, found),
    )


def ordered(labels: set[str]) -> tuple[str, ...]:
    """The one order of classes: by value where every label is a whole number, else by code points."""
    if all(label.isascii() and label.isdigit() for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))


def at_a_glance(file: Path, told: str) -> UnreadableFile | None:
    """What a file's entry on the disk says against it, before it is read."""
    try:
        size = file.stat().st_size
    except OSError as error:
        return UnreadableFile(told, "missing", error.strerror or str(error))
    return UnreadableFile(told, "empty file", "0 bytes") if size == 0 else None


def pictures_below(folder: Path) -> Iterator[Path]:
    """Every file under `folder` that its suffix calls a picture, in the order of names; loops of links are left."""
    yield from _walk(folder, frozenset())


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in _entries(folder):
        path = folder / entry.name
        if entry.is_dir():
            yield from _walk(path, above | {here})
        elif path.suffix.lower() in SUFFIXES:
            yield path


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            kept = [e for e in entries if not e.name.startswith(".") and e.name.lower() not in _PASSED_OVER]
    except OSError as error:
        raise BadData(f"{folder}: can't be listed: {error.strerror}") from error
    return sorted(kept, key=lambda entry: entry.name)


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Pictures per first-level folder; a folder without any is a class without images, and stays in the list."""
    return {e.name: list(pictures_below(folder / e.name)) for e in _entries(folder) if e.is_dir()}


def _split_folders(root: Path) -> dict[Split, Path]:
    """The folders that are splits; none where `root` holds classes directly.

    "train" makes the difference: it must itself hold folders. A class that happens to be called train does not.
    """
    named: dict[Split, list[Path]] = defaultdict(list)
    for entry in _entries(root):
        split = SPLIT_FOLDERS.get(entry.name.lower())
        if split is not None and entry.is_dir() and any(e.is_dir() for e in _entries(root / entry.name)):
            named[split].append(root / entry.name)
    for split, folders in named.items():
        if len(folders) > 1:
            both = " and ".join(f.name for f in folders)
            raise BadData(f"{root}: {both} both mean the {split} split", hint="keep one of them")
    if named and "train" not in named:
        there = ", ".join(folders[0].name for folders in named.values())
        raise BadData(f"{root}: there is {there} but no folder train with class folders in it")
    return {split: folders[0] for split, folders in named.items()}


def _passed_over(root: Path, found: dict[Split, Path]) -> tuple[str, ...]:
    """What lies in the folder and takes no part: other folders beside the splits, pictures in no class folder."""
    notes = []
    if found:
        beside = [e.name for e in _entries(root) if e.is_dir() and root / e.name not in found.values()]
        if beside:
            notes.append(
                f"folders beside the splits take no part: {', '.join(beside[:3])}{', ...' * (len(beside) > 3)}"
            )
    holders = [root, *found.values()]
    loose = [
        folder / e.name
        for folder in holders
        for e in _entries(folder)
        if not e.is_dir() and Path(e.name).suffix.lower() in SUFFIXES
    ]
    if loose:
        first = loose[0].relative_to(root).as_posix()
        notes.append(f"pictures outside of class folders take no part: {len(loose)}, the first {first}")
    return tuple(notes)


def _must_have_classes(root: Path, listed: dict[Split, dict[str, list[Path]]], labels: Labels) -> None:
    layout = f"one folder per class: {root.name}/cat/1.jpg, or {root.name}/train/cat/1.jpg"
    if not any(files for classes in listed.values() for files in classes.values()):
        loose = sum(1 for _ in pictures_below(root))
        what = f"{loose} pictures but no class folders" if loose else "no pictures in it"
        raise BadData(f"{root}: {what}", hint=layout)
    if len(labels) < 2:
        raise BadData(f"{root}: only one class ({labels.ids[0]}); two are needed to tell apart", hint=layout)


def _completed(
    root: Path, samples: dict[Split, list[Sample]], seed: int, given: bool
) -> tuple[dict[Split, tuple[Sample, ...]], str]:
    """All three splits and where they come from: what is missing is taken out of train, by the seed."""
    missing: list[Split] = [split for split in SPLITS if not samples.get(split)]
    splits: dict[Split, tuple[Sample, ...]] = {split: tuple(samples.get(split, ())) for split in SPLITS}
    if not missing:
        return splits, "folders"
    if len(missing) == 2:
        fractions, origin = EIGHT_ONE_ONE, f"seeded 80/10/10, seed {seed}"
    else:
        fractions = {"train": 1 - _CARVED, missing[0]: _CARVED}
        origin = f"{missing[0]}: seeded {_CARVED:.0%} of train, seed {seed}"
    keys = [sample.file.relative_to(root).as_posix() for sample in splits["train"]]
    splits |= {
        s: kept for s, kept in seeded_split(splits["train"], keys, fractions=fractions, seed=seed).items() if kept
    }
    return splits, f"folders; {origin}" if given else origin
