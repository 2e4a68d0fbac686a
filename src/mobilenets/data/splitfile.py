"""A split written down as JSON and read back: which file is in which split, so that a later run uses the same one."""

from dataclasses import dataclass
from pathlib import Path

from ..codec import from_json, to_json
from ..errors import BadData
from ..files import write_atomic
from ..records import Labels, Split, UnreadableFile
from .dataset import Dataset, Sample

_FORMAT = 1


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
