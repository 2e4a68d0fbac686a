"""The same answers from many machines: a folder that outgrows one is labelled as a Ray Data job (extra `ray`).

Each worker is a process with one core, one session and the model of its own; pictures travel as paths, so that every
machine must see them, and the model, under the same names (a shared file system).
"""

import json
import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingRuntime, UsageError
from .journal import Row, Written, check_output, write_rows
from .machine import usable_cores
from .pictures import Pictures, listed
from .run import load
from .targets import has_module

CHUNK = 64
"""Pictures that a worker takes at once: a fifth of a second to a second of work."""


def predict_on_ray(
    model: str | Path,
    source: Pictures,
    out: str | Path,
    *,
    top: int = 5,
    workers: int | None = None,
    target: str | None = None,
    precision: str | None = None,
) -> Written:
    """Answer every picture of `source` into `out` by workers of a Ray cluster: the rows of `write_predictions`.

    Args:
        model: what `load` takes, seen by all machines. target, precision: which of its files, as for `load`.
        source: paths, folders, or a list of these.
        out: as for `write_predictions`. It appears whole at the end; Ray itself repeats what a lost worker had begun.
        workers: processes with one core each; by default one per core of this machine.

    Runs on the cluster that `ray.init` was called for, or that RAY_ADDRESS names; else on this machine alone.
    Raises: UsageError for pictures in memory or an output that exists; MissingRuntime without ray.
    """
    if not has_module("ray"):
        raise MissingRuntime.extra("ray", "ray")
    place = Path(out)
    check_output(place)
    if place.exists():
        raise UsageError(f"{place}: exists already and is not overwritten", hint="name another file, or remove it")
    count = usable_cores() if workers is None else workers
    if count < 1 or top < 1:
        raise UsageError(f"workers and top must be at least 1, not {count} and {top}")
    load(model, target=target, precision=precision, threads=1)  # what is wrong with it is said here, before the cluster
    chunks = list(_chunks(source))
    if not chunks:
        raise UsageError("no pictures there")
    import ray

    own = not ray.is_initialized()
    if own:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    try:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        answers = ray.data.from_items(chunks, override_num_blocks=min(len(chunks), 16 * count)).map_batches(
            Labeller,
            fn_constructor_args=(str(model), top, target, precision),
            batch_size=1,
            batch_format="numpy",
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=count),
        )
        rows, errors, first = write_rows(place, _rows(answers.iter_rows()))
    finally:
        if own:
            ray.shutdown()
    return Written(str(place), rows, 0, errors, first)


class Labeller:
    """A worker: the model loaded once, chunks of paths in, answers as JSON lines out."""

    def __init__(self, model: str, top: int, target: str | None, precision: str | None) -> None:
        self.model = load(model, target=target, precision=precision, threads=1)
        self.top = top

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        files = [Path(file) for files in batch["files"] for file in json.loads(files)]
        stream = self.model.predict_stream(files, top=self.top, workers=1, fast=False)
        return {"answers": np.array([json.dumps([prediction.as_dict() for prediction in stream])], object)}


def _chunks(source: Pictures) -> Iterator[dict[str, str]]:
    """The paths in runs of CHUNK, as JSON: names that are no UTF-8 survive as escapes."""
    names = listed(source)
    while part := list(islice(names, CHUNK)):
        if wrong := [name for name, picture in part if not isinstance(picture, (str, Path))]:
            raise UsageError(f"{wrong[0]}: lies in memory; a cluster takes paths")
        yield {"files": json.dumps([str(picture) for _, picture in part])}


def _rows(answers: Any) -> Iterator[Row]:
    for chunk in answers:
        yield from json.loads(chunk["answers"])
