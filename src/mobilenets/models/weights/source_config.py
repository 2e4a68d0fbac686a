"""Values out of a repository's config.json: whoever wrote it, they have the type asked for or are refused."""

from collections.abc import Mapping

from ...errors import BadData
from ...records import Labels

MOST_LABELS = 1_000_000


def section(config: Mapping[str, object], key: str, where: str) -> Mapping[str, object]:
    """The object under `key`; {} where there is none."""
    found = config.get(key)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise BadData(f"{where}: config: {key} must be an object, not {found!r:.60}")
    return {str(name): value for name, value in found.items()}


def text(config: Mapping[str, object], key: str, where: str) -> str:
    """The text under `key`; "" where there is none."""
    found = config.get(key)
    if found is None:
        return ""
    if not isinstance(found, str) or len(found) > 300 or not found.isprintable():
        raise BadData(f"{where}: config: {key} must be a short text, not {found!r:.60}")
    return found


def number(config: Mapping[str, object], key: str, where: str) -> float | None:
    """The number under `key`; None where there is none."""
    found = config.get(key)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not -1e9 < found < 1e9:
        raise BadData(f"{where}: config: {key} must be a number, not {found!r:.60}")
    return float(found)


def floats(config: Mapping[str, object], key: str, where: str) -> tuple[float, ...]:
    """The numbers under `key`, at most 16; () where there are none."""
    found = config.get(key)
    if found is None:
        return ()
    if not isinstance(found, (list, tuple)) or not 1 <= len(found) <= 16:
        raise BadData(f"{where}: config: {key} must be a list of numbers, not {found!r:.60}")
    values = [number({key: value}, key, where) for value in found]
    return tuple(value for value in values if value is not None)


def integers(config: Mapping[str, object], key: str, where: str, *, count: int) -> tuple[int, ...]:
    """`count` whole numbers of at least 1 and at most 100000 under `key`."""
    found = floats(config, key, where)
    if len(found) != count or not all(1 <= value <= 100_000 and value == int(value) for value in found):
        raise BadData(f"{where}: config: {key} must be {count} whole numbers, not {config.get(key)!r:.60}")
    return tuple(int(value) for value in found)


def labels_of(ids: object, names: object, where: str) -> Labels | None:
    """Labels from a list of ids (or {"0": id, ...}), with display names by id or in the same order, where given.

    Where ids occur twice (ImageNet has two "crane"), numbers are the ids and they the names.
    """
    if isinstance(ids, Mapping):
        by_number = {str(key): value for key, value in ids.items()}
        ids = [by_number.get(str(i)) for i in range(len(by_number))]
    if ids is None:
        return None
    if not isinstance(ids, (list, tuple)) or len(ids) > MOST_LABELS or not all(isinstance(i, str) for i in ids):
        raise BadData(f"{where}: config: labels must be a list of texts, one per class")
    found = tuple(str(i) for i in ids)
    if not found or all(name == f"LABEL_{i}" for i, name in enumerate(found)):
        return None
    if len(set(found)) < len(found):
        return Labels(tuple(map(str, range(len(found)))), found)
    if isinstance(names, Mapping):
        return Labels(found, tuple(str(names.get(i, i)) for i in found))
    if isinstance(names, (list, tuple)) and len(names) == len(found):
        return Labels(found, tuple(map(str, names)))
    return Labels(found)
