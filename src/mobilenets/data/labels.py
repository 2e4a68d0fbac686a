"""A file of class names: one a line in the order of the logits, or a CSV whose column `label` (and `name`) has them."""

import csv
from pathlib import Path

from ..errors import BadData, UsageError
from ..records import Labels

MOST_BYTES = 50_000_000


def read_labels(path: Path) -> Labels:
    """The classes that `path` lists. A name that stands there twice gets its number before it, since labels must be
    unique. Raises: UsageError where it can't be read; BadData where it lists nothing."""
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
