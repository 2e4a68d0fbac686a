"""The health of a data set before training: what can't be read, what is the same, what is missing, what is odd.

Every file is decoded once by the reader that training uses; nothing is rewritten.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UnreadableImage
from ..files import sha256
from ..records import SPLITS, ClassCount, DataHealth, Duplicate, UnreadableFile
from .dataset import Dataset, Sample, without_files
from .duplicates import Fingerprint, difference_hash, same_pictures, thumbnail
from .image import decode_image
from .parallel import Progress, in_order

TINY_PX = 32
IMBALANCE = 5.0
"""A largest class of this many times the training images of the smallest is worth a warning."""

_ENOUGH_PX = 64
_SIZES_LISTED = 100


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    print: Fingerprint
    mode: str
    orientation: int
    size_px: tuple[int, int]


def check_data(dataset: Dataset, *, workers: int | None = None, on_progress: Progress | None = None) -> DataHealth:
    """Decode every picture of `dataset` and say what is wrong with the lot.

    `passed` is false for a leak (like pictures in two splits) and for a class without training images. `images`,
    `counts` and everything after them are of the readable pictures; `sizes_px` are the 100 most frequent sizes as
    (h, w, images), upright. `modes` are the colour modes as stored (Pillow's names).

    workers: threads, by default one per core. on_progress: called with (done, total).
    Cost: about a decoding of each file, JPEGs of more than 128 px at a fraction of their size, and 1 kB of memory.
    """
    seen: list[_Seen] = []
    unreadable: list[UnreadableFile] = []
    samples = dataset.samples
    results = in_order(_look, samples, workers)
    for done, (sample, result) in enumerate(zip(samples, results, strict=True), start=1):
        if isinstance(result, _Seen):
            seen.append(result)
        else:
            unreadable.append(UnreadableFile(dataset.relative(sample.file), result.kind, result.cause))
        if on_progress is not None:
            on_progress(done, len(samples))
    readable = without_files(dataset, unreadable)
    duplicates = _duplicates(readable, seen)
    leaks = tuple(d for d in duplicates if len(set(d.splits)) > 1)
    counts = readable.counts()
    sizes = Counter(look.size_px for look in seen)
    modes = dict(Counter(look.mode for look in seen).most_common())
    tiny = tuple(
        dataset.relative(sample.file)
        for sample, look in zip(readable.samples, seen, strict=True)
        if min(look.size_px) < TINY_PX
    )
    errors = (*_untrained(counts), *_leaking(leaks))
    return DataHealth(
        data=dataset.name,
        images=len(seen),
        classes=len(dataset.labels),
        counts=counts,
        unreadable=readable.unreadable,
        duplicates=duplicates,
        leaks=leaks,
        errors=errors,
        warnings=_warnings(readable, counts, duplicates, modes, tiny),
        modes=modes,
        rotated=sum(look.orientation != 1 for look in seen),
        tiny=tiny,
        sizes_px=tuple((h, w, n) for (h, w), n in sizes.most_common(_SIZES_LISTED)),
        split_origin=dataset.split_origin,
        passed=not errors,
    )


def _look(sample: Sample) -> _Seen | UnreadableImage:
    try:
        decoded = decode_image(sample.file, enough_px=_ENOUGH_PX)
        content = bytes.fromhex(sha256(sample.file))
    except UnreadableImage as error:
        return error
    except OSError as error:
        return UnreadableImage(str(sample.file), "missing", error.strerror or str(error))
    pixels = decoded.pixels
    shape = f"{pixels.shape}".encode()
    value = difference_hash(pixels)
    return _Seen(
        Fingerprint(
            content,
            hashlib.sha256(shape + pixels.tobytes()).digest(),
            value,
            thumbnail(pixels) if value is not None else None,
        ),
        decoded.mode,
        decoded.orientation,
        decoded.size_px,
    )


def _duplicates(readable: Dataset, seen: Sequence[_Seen]) -> tuple[Duplicate, ...]:
    samples = readable.samples
    splits = [split for split in SPLITS for _ in readable.split(split)]
    return tuple(
        Duplicate(
            kind="exact" if exact else "near",
            files=tuple(readable.relative(samples[i].file) for i in group),
            splits=tuple(splits[i] for i in group),
            labels=tuple(readable.labels.ids[samples[i].target] for i in group),
        )
        for exact, group in same_pictures([look.print for look in seen])
    )


def _untrained(counts: Sequence[ClassCount]) -> list[str]:
    return [f"class {count.label!r} has no images to train on" for count in counts if count.train == 0]


def _leaking(leaks: Sequence[Duplicate]) -> list[str]:
    if not leaks:
        return []
    first = leaks[0]
    other = next(i for i, split in enumerate(first.splits) if split != first.splits[0])
    exact = sum(leak.kind == "exact" for leak in leaks)
    return [
        f"{_n(len(leaks), 'picture')} in more than one split ({exact} exactly alike): {first.files[0]}"
        f" ({first.splits[0]}) and {first.files[other]} ({first.splits[other]})"
    ]


def _warnings(
    readable: Dataset,
    counts: Sequence[ClassCount],
    duplicates: Sequence[Duplicate],
    modes: dict[str, int],
    tiny: Sequence[str],
) -> tuple[str, ...]:
    found = list(readable.notes)
    if readable.unreadable:
        first = readable.unreadable[0]
        count = _n(len(readable.unreadable), "unreadable file")
        found.append(f"{count} left out, the first {first.file}: {first.kind}")
    for split in ("val", "test"):
        absent = [count.label for count in counts if getattr(count, split) == 0]
        if absent:
            found.append(f"{len(absent)} of {len(counts)} classes have no images in {split}: {_some(absent)}")
    trained = [count for count in counts if count.train]
    if trained:
        most, least = max(trained, key=lambda c: c.train), min(trained, key=lambda c: c.train)
        if most.train >= IMBALANCE * least.train:
            ratio = most.train / least.train
            found.append(
                f"class sizes differ {ratio:.0f}-fold: {most.train} training images of {most.label},"
                f" {least.train} of {least.label}"
            )
    if tiny:
        found.append(f"{_n(len(tiny), 'picture')} smaller than {TINY_PX} px on a side, the first {tiny[0]}")
    if len(modes) > 1:
        told = ", ".join(f"{mode} {count}" for mode, count in modes.items())
        found.append(f"colour modes are mixed ({told}); all are read as RGB")
    inside = [d for d in duplicates if len(set(d.splits)) == 1]
    if inside:
        found.append(f"{_n(len(inside), 'picture')} more than once inside a split, the first {inside[0].files[0]}")
    torn = [d for d in duplicates if len(set(d.labels)) > 1]
    if torn:
        count, labels = _n(len(torn), "picture"), _some(sorted(set(torn[0].labels)))
        found.append(f"{count} with more than one label, the first {torn[0].files[0]}: {labels}")
    return tuple(found)


def _n(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
