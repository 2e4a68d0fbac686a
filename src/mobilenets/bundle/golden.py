"""Golden vectors: a few encoded pictures, the tensors they become, and what the trained network answers to them.

With them anybody can check any runtime from the picture's file to its label, without the data set and without torch.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..codec import decode, to_json
from ..data import preprocess, read_image
from ..errors import BadData, BadModelFile, UnreadableImage, UsageError
from ..records import Preprocess
from .record import Photos, json_object

if TYPE_CHECKING:
    from ..data import Sample
    from .model_file import ModelFile

GOLDEN_IMAGES = 16
INDEX = "golden/index.json"
VECTORS = "golden/vectors.safetensors"
INPUTS = "inputs"
OUTPUT = "outputs."
"""Prefix of the network's outputs among the vectors; the task's output name follows."""
LARGE_BYTES = 2_000_000
"""Smaller pictures are taken where there are enough, so that 16 of them do not outweigh the network."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class GoldenImage:
    """One picture: its name in the model file, the label the data gives it (None: none is known), the answer.

    answer: what the trained network said, as plain JSON values: the task's result with one best label.
    """

    file: str
    label: str | None
    answer: dict[str, object]


@dataclass(frozen=True, slots=True)
class GoldenIndex:
    """What golden/index.json holds. `kind`: the user's own "photos", or "synthetic" pictures in their place."""

    kind: Photos
    output_names: tuple[str, ...]
    images: tuple[GoldenImage, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """The golden vectors of one network.

    encoded: the pictures' bytes, one per image. inputs: (N, C, h, w), or as the preprocess record's layout says.
    outputs: one array (N, ...) per output name.
    """

    index: GoldenIndex
    encoded: tuple[bytes, ...]
    inputs: Array
    outputs: tuple[Array, ...]

    def __post_init__(self) -> None:
        count = len(self.index.images)
        lengths = {count, len(self.encoded), len(self.inputs), *(len(output) for output in self.outputs)}
        if len(lengths) != 1 or len(self.outputs) != len(self.index.output_names):
            raise UsageError(f"golden vectors: {count} images do not fit their tensors")

    def __len__(self) -> int:
        return len(self.encoded)


def choose_golden(samples: Iterable["Sample"], *, count: int = GOLDEN_IMAGES) -> tuple["Sample", ...]:
    """The samples whose pictures become golden: the classes in turn, each one's small files first, then by name."""

    def rank(sample: "Sample") -> tuple[bool, str]:
        return _size_bytes(sample.file) > LARGE_BYTES, str(sample.file)

    by_class: dict[int, list[Sample]] = {}
    for sample in samples:
        by_class.setdefault(sample.target, []).append(sample)
    queues = [sorted(by_class[target], key=rank) for target in sorted(by_class)]
    # More classes than places: spread over them, not the first in the alphabet.
    if len(queues) > count:
        queues = [queues[i * len(queues) // count] for i in range(count)]
    chosen: list[Sample] = []
    turn = 0
    while len(chosen) < count and any(len(queue) > turn for queue in queues):
        chosen += [queue[turn] for queue in queues if len(queue) > turn]
        turn += 1
    return tuple(chosen[:count])


def make_golden(
    pictures: Iterable[tuple[str, bytes, str | None]],
    record: Preprocess,
    *,
    kind: Photos,
    output_names: tuple[str, ...],
    run: Callable[[Array], Sequence[Array]],
    answer: Callable[[Sequence[Array]], Sequence[dict[str, object]]],
) -> Golden:
    """The golden vectors of `pictures`, (suffix or file name, encoded bytes, label) each; unreadable ones are left out.

    run: the trained network, from a batch as `record` makes it to its outputs, one array each.
    answer: what these outputs say, as plain JSON values, one per image.
    Raises: BadData where no picture can be read.
    """
    readable = []
    for name, data, label in pictures:
        try:
            readable.append((_suffix(name), data, label, preprocess(read_image(data), record)))
        except UnreadableImage:
            continue
    if not readable:
        raise BadData("golden vectors need at least one picture that can be read")
    inputs = np.stack([tensor for *_, tensor in readable])
    outputs = tuple(np.ascontiguousarray(output) for output in run(inputs))
    files = [f"golden/{i:02d}{suffix}" for i, (suffix, *_) in enumerate(readable)]
    labels = [label for _, _, label, _ in readable]
    answers = answer(outputs)
    images = tuple(GoldenImage(*parts) for parts in zip(files, labels, answers, strict=True))
    index = GoldenIndex(kind, output_names, images)
    return Golden(index, tuple(data for _, data, *_ in readable), inputs, outputs)


def golden_files(golden: Golden) -> dict[str, bytes]:
    """The files of the golden vectors by their names in the model file."""
    from safetensors.numpy import save

    arrays = {INPUTS: np.ascontiguousarray(golden.inputs)}
    arrays |= {OUTPUT + name: array for name, array in zip(golden.index.output_names, golden.outputs, strict=True)}
    files = {image.file: data for image, data in zip(golden.index.images, golden.encoded, strict=True)}
    return {INDEX: (to_json(golden.index) + "\n").encode(), VECTORS: save(arrays), **files}


def read_golden(model: "ModelFile") -> Golden:
    """The golden vectors of an opened model file. Raises BadModelFile where parts are missing or do not fit."""
    from .model_file import load_arrays

    where = f"{model.path}: {INDEX}"
    data = json_object(model.read(INDEX), where=where)
    arrays = load_arrays(model.read(VECTORS), where=f"{model.path}: {VECTORS}")
    try:
        index = decode(GoldenIndex, data, where=where)
        outputs = tuple(arrays[OUTPUT + name] for name in index.output_names)
        encoded = tuple(model.read(image.file) for image in index.images)
        return Golden(index, encoded, arrays[INPUTS], outputs)
    except KeyError as error:
        raise BadModelFile(f"{model.path}: {VECTORS} has no tensor {error.args[0]!r}") from error
    except UsageError as error:
        raise BadModelFile(f"{where}: {error.message}") from error


def _suffix(name: str) -> str:
    """The file's suffix in small letters, or none where it is not a plain one."""
    found = re.search(r"\.[a-z0-9]{1,8}$", name.lower())
    return found[0] if found else ""


def _size_bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return LARGE_BYTES + 1
