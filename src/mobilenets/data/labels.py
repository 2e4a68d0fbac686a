"""Files about classes: their names in the order of the logits, and a map from the labels of data to a model's."""

import csv
from pathlib import Path

from ..errors import BadData, UsageError
from ..records import Labels

MOST_BYTES = 50_000_000


def read_labels(path: Path) -> Labels:
    """The classes that `path` lists: one a line, or in the column `label` (and `name`) of a CSV. A name that stands
    there twice gets its number before it, since labels must be unique.

    Raises: UsageError where it can't be read; BadData where it lists nothing.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadData(f"{path}: larger than {MOST_BYTES // 10**6} MB; this is no list of classes")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: not a text file") from error
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    if path.suffix.lower() == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
        if not rows or "label" not in rows[0]:
            raise BadData(f"{path}: has no column called label")
        ids, names = [row["label"] for row in rows], [row.get("name") or row["label"] for row in rows]
    else:
        ids = names = [line.strip() for line in text.splitlines() if line.strip()]
    if not ids:
        raise BadData(f"{path}: lists no class")
    if len(set(ids)) != len(ids):
        ids = [f"{i} {label}" for i, label in enumerate(ids)]
    return Labels(tuple(ids), tuple(names) if names != ids else ())


def read_class_map(path: Path) -> dict[str, str]:
    """A CSV with the columns `label` (in the data) and `class` (label or name in the model).

    Raises: UsageError where it can't be read; BadData where a column is missing or a label stands there twice.
    """
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: not a text file") from error
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    found: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        label, known = row.get("label"), row.get("class")
        if not label or not known:
            raise BadData(f"{path}: line {line}: needs the columns label and class")
        if found.setdefault(label, known) != known:
            raise BadData(f"{path}: line {line}: {label!r} has two classes, {found[label]!r} and {known!r}")
    return found
