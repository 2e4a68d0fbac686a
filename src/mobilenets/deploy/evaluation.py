"""A model on labelled image files: the exported file answers them, as it would on the device. No torch."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..data import Dataset, open_dataset, with_labels
from ..errors import BadData
from ..records import Evaluation, Split, UnreadableFile
from .machine import usable_cores
from .pictures import batches, tensors
from .run import BATCH, DECODERS, Model, load
from .trained import as_arrays, as_outputs


def evaluate_model(
    model: Model | str | Path,
    data: Dataset | str | Path,
    *,
    split: Split | None = None,
    seed: int = 0,
    class_map: Mapping[str, str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """What a model gets right on labelled images, matched by label or unique name, whatever order the data has.

    Args:
        model: a loaded model, or what `load` takes.
        data: a data set, or what `open_dataset` takes (with `seed`).
        class_map: label of the data -> label or name of the model, where they are called otherwise.
        split: which part of it; by default test, where that is empty val, where that is empty too everything.

    Unreadable files are left out of every figure and listed. Raises: BadData where no file can be read, or where the
    data have labels that the model does not know.
    """
    loaded = model if isinstance(model, Model) else load(model)
    dataset = data if isinstance(data, Dataset) else open_dataset(str(data), seed=seed)
    dataset = with_labels(dataset, loaded.labels, class_map)
    samples = dataset.split(split) if split else dataset.held_out()
    if not samples:
        raise BadData(f"{dataset.name}: {f'its split {split!r}' if split else 'it'} has no images")
    unreadable = list(dataset.unreadable)
    parts, kept, done = [], [], 0
    threads = min(DECODERS, usable_cores())
    stream = tensors(
        ((str(s.file), s.file) for s in samples),
        loaded.preprocess,
        workers=threads,
        ahead=2 * BATCH + threads,
        inside=loaded.inside,
    )
    for items, batch in batches(stream, 1 if loaded.inside == "everything" else BATCH):
        if batch is not None:
            parts.append(as_arrays(loaded.session.run(batch)))
        for item in items:
            if item.error is None:
                kept.append(samples[done])
            else:
                unreadable.append(
                    UnreadableFile(dataset.relative(samples[done].file), item.error.kind, item.error.cause)
                )
            done += 1
        if on_progress is not None:
            on_progress(done, len(samples))
    if not kept:
        raise BadData(f"{dataset.name}: none of {len(samples)} images can be read")
    outputs = as_outputs([np.concatenate(column) for column in zip(*parts, strict=True)])
    evaluation: Evaluation = loaded.decoding.evaluate(
        outputs,
        np.array([sample.target for sample in kept], np.int64),
        labels=loaded.labels,
        files=[dataset.relative(sample.file) for sample in kept],
        calibration=loaded.calibration,
    )
    return replace(evaluation, unreadable=tuple(unreadable))
