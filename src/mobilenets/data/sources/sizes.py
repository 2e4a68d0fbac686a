"""What to say of classes that are too small to be in every split."""

from collections.abc import Sequence
from dataclasses import replace

from ...records import Split
from ..dataset import Dataset


def notes_on_small_classes(dataset: Dataset, *, made: Sequence[Split]) -> Dataset:
    """`dataset` with a note for each split of `made` (those of our own making) that lacks classes."""
    notes = []
    for split in made:
        if split == "train":
            continue
        absent = [c.label for c in dataset.counts() if getattr(c, split) == 0]
        if absent:
            shown = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
            notes.append(
                f"{len(absent)} of {len(dataset.labels)} classes are too small for an image in {split}: {shown}"
            )
    return replace(dataset, notes=(*dataset.notes, *notes))
