"""Data sets listed in a CSV file with the header `path,label[,split][,group][,name]`; other columns are passed over."""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ...errors import BadData
from ...records import SPLITS, Labels, Split, UnreadableFile
from ..dataset import Dataset, Sample
from ..split import EIGHT_ONE_ONE, seeded_split
from .folders import SPLIT_FOLDERS, at_a_glance, ordered


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    path: str
    label: str
    split: Split | None
    group: str
    name: str


def csv_table(path: Path, *, seed: int) -> Dataset:
    """The data set that the CSV file `path` lists. Paths in it are relative to the file, or absolute.

    Without a split column the split is seeded, stratified, and keeps groups whole. Raises BadData naming file, line
    and key.
    """
    rows = _rows(path)
    _one_label_per_path(path, rows)
    _one_split_per_group(path, rows)
    names = _names(path, rows)
    ids = ordered(set(names))
    if len(ids) < 2:
        raise BadData(f"{path}: only one label ({ids[0]}); two are needed to tell apart")
    labels = Labels(ids, tuple(names[label] or label for label in ids) if any(names.values()) else ())
    target = {label: index for index, label in enumerate(ids)}
    faults: list[UnreadableFile] = []
    samples: list[Sample] = []
    keys: list[str] = []
    splits: dict[Split, list[Sample]] = defaultdict(list)
    for row in rows:
        file = path.parent / row.path
        if fault := at_a_glance(file, row.path):
            faults.append(fault)
            continue
        sample = Sample(file, target[row.label], row.group)
        samples.append(sample)
        keys.append(row.path)
        if row.split is not None:
            splits[row.split].append(sample)
    if not samples:
        raise BadData(
            f"{path}: line {rows[0].line}: path: none of the {len(rows)} files is there, the first {rows[0].path!r}",
            hint="paths are relative to the CSV file",
        )
    if splits:
        done = {split: tuple(splits[split]) for split in SPLITS}
        origin = "csv column"
    else:
        done = seeded_split(samples, keys, fractions=EIGHT_ONE_ONE, seed=seed)
        origin = f"seeded 80/10/10, seed {seed}"
    return Dataset(
        name=path.stem,
        root=path.parent,
        labels=labels,
        train=done["train"],
        val=done["val"],
        test=done["test"],
        unreadable=tuple(faults),
        split_origin=origin,
    )


def _rows(path: Path) -> list[_Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [key.strip().lower() for key in next(reader, [])]
            for key in ("path", "label"):
                if key not in header:
                    raise BadData(
                        f"{path}: line 1: the header has no column {key!r}, only {', '.join(header) or 'nothing'}",
                        hint="the header is path,label[,split][,group][,name], separated by commas",
                    )
            twice = next((key for key in header if key and header.count(key) > 1), None)
            if twice:
                raise BadData(f"{path}: line 1: the column {twice!r} occurs twice")
            rows = [_row(path, reader.line_num, header, cells) for cells in reader if any(c.strip() for c in cells)]
    except csv.Error as error:
        raise BadData(f"{path}: line {reader.line_num}: not CSV: {error}") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: not UTF-8: byte {error.start}") from error
    except OSError as error:
        raise BadData(f"{path}: can't be read: {error.strerror}") from error
    if not rows:
        raise BadData(f"{path}: a header and no rows")
    return rows


def _row(path: Path, line: int, header: list[str], cells: list[str]) -> _Row:
    if len(cells) != len(header):
        raise BadData(
            f"{path}: line {line}: {len(cells)} cells for {len(header)} columns",
            hint="a path or a name with a comma in it must stand in double quotes",
        )
    values = {key: cell.strip() for key, cell in zip(header, cells, strict=True)}
    for key in ("path", "label"):
        if not values[key]:
            raise BadData(f"{path}: line {line}: {key}: empty")
    split: Split | None = None
    if "split" in values:
        split = SPLIT_FOLDERS.get(values["split"].lower())
        if split is None:
            raise BadData(f"{path}: line {line}: split: must be train, val or test, not {values['split']!r}")
    return _Row(line, values["path"], values["label"], split, values.get("group", ""), values.get("name", ""))


def _one_label_per_path(path: Path, rows: list[_Row]) -> None:
    first: dict[str, _Row] = {}
    for row in rows:
        before = first.setdefault(row.path, row)
        if before is not row:
            raise BadData(f"{path}: line {row.line}: path: {row.path!r} stands in line {before.line} already")


def _one_split_per_group(path: Path, rows: list[_Row]) -> None:
    first: dict[str, _Row] = {}
    for row in rows:
        before = first.setdefault(row.group, row) if row.group else row
        if before.split != row.split:
            raise BadData(
                f"{path}: line {row.line}: group: {row.group!r} is in {row.split} here and in {before.split} in line"
                f" {before.line}; a group stands in one split"
            )


def _names(path: Path, rows: list[_Row]) -> dict[str, str]:
    """The display name of each label ("" where none)."""
    first: dict[str, _Row] = {}
    for row in rows:
        before = first.setdefault(row.label, row)
        if before.name != row.name:
            raise BadData(
                f"{path}: line {row.line}: name: label {row.label!r} is {row.name!r} here and {before.name!r} in line"
                f" {before.line}"
            )
    return {label: row.name for label, row in first.items()}
