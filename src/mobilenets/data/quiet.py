"""Pillow's warnings and log lines kept in while we decode: what they speak of ends in a decision or error of ours."""

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from typing import cast

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors, ours by then, go to stderr unasked
_reading = threading.local()


class _WhileReading:
    """Stands where a warning filter keeps a pattern: matches any text, in a thread that is decoding, nowhere else.

    pattern: for those who copy filters to other processes (scikit-learn does): there it matches nothing.
    """

    pattern = "(?!)"

    def match(self, text: str, pos: int = 0) -> bool:
        return getattr(_reading, "now", False)


_FILTER = ("ignore", _WhileReading(), Warning, None, 0)


@contextlib.contextmanager
def pillow_is_quiet() -> Iterator[None]:
    """Pillow's warnings are decided upon here (size, EXIF), so none goes out, nor stops a reader under -W error.

    `warnings.catch_warnings` swaps the filters of all threads and can leave another thread's behind; this filter says
    nothing outside of our own decoding, so where it stays does not matter.
    """
    filters = cast("list[object]", warnings.filters)
    if not filters or filters[0] is not _FILTER:
        with contextlib.suppress(ValueError):
            filters.remove(_FILTER)
        filters.insert(0, _FILTER)
    _reading.now = True
    try:
        yield
    finally:
        _reading.now = False
