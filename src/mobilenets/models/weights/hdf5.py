"""HDF5 files as trees of arrays, read by a process of its own (hdf5_apart.py): a damaged file can't take us with it."""

import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BadData, MissingRuntime
from .graph import Array

MOST_BYTES = 600_000_000
"""The largest file: V4 hybrid large with its optimizer's states is 450 MB."""
MOST_NUMBERS = 100_000_000
"""Numbers in all arrays of a file together; V4 hybrid large has 38 million."""
NUMBERS_PER_BYTE = 4
"""Weights do not shrink to a sixteenth, whatever they are compressed with."""
SECONDS = 6
BYTES_PER_SECOND = 10_000_000
ALONE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""It computes nothing: no threads, and no memory for them."""
PROGRAM = Path(__file__).with_name("hdf5_apart.py")


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """What an HDF5 file of Keras's holds.

    arrays: by path. weight_names: the list beside a group's arrays, by path of the group. names: the layer's name that
    a group is marked with. texts: string attributes of the root.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    weight_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


def read_tree(path: Path, where: str = "") -> Tree:
    """The HDF5 file at `path`; messages call it `where`.

    Raises: BadData for a file that is missing, damaged, too large, or none; MissingRuntime without h5py.
    """
    where = where or str(path)
    if find_spec("h5py") is None:
        raise MissingRuntime.extra("h5py", "weights")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BadData(f"{where}: can't be read: {error.strerror or error}") from error
    if size > MOST_BYTES:
        raise BadData(f"{where}: larger than {MOST_BYTES // 10**6} MB")
    most = min(MOST_NUMBERS, NUMBERS_PER_BYTE * size)
    # -P: the folder of the program is no place to import from; modules of ours there have other packages' names.
    command = [sys.executable, "-P", str(PROGRAM), str(path.resolve()), str(most)]
    try:
        limit = SECONDS + size / BYTES_PER_SECOND
        done = subprocess.run(command, capture_output=True, check=False, timeout=limit, env={**os.environ, **ALONE})
    except subprocess.TimeoutExpired as error:
        raise BadData(f"{where}: a damaged HDF5 file: reading it never ends") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = said[-1][:200] if done.returncode == 1 and said else "reading it crashed"
        raise BadData(f"{where}: not a whole HDF5 file: {why}")
    return _tree(done.stdout, where)


def read_tree_of(image: bytes, where: str) -> Tree:
    """The HDF5 file `image`, as `read_tree` reads one that has a path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.h5"
        path.write_bytes(image)
        return read_tree(path, where)


def _tree(raw: bytes, where: str) -> Tree:
    """What hdf5_apart.py wrote."""
    at = 8 + int.from_bytes(raw[:8], "little")
    try:
        header: dict[str, Any] = json.loads(raw[8:at])
        arrays: dict[str, Array] = {}
        for name, shape in header["arrays"]:
            size = math.prod(shape)
            arrays[name] = np.frombuffer(raw[at : at + 4 * size], np.float32).reshape(shape).copy()
            at += 4 * size
    except (ValueError, KeyError, TypeError) as error:
        raise BadData(f"{where}: not a whole HDF5 file: it was not read to the end") from error
    lists = {group: tuple(names) for group, names in header["weight_names"].items()}
    return Tree(arrays, lists, header["names"], header["texts"])
