"""Numbers as people read them: the only place where a report turns a field of a record into text."""

import math
from datetime import datetime

SPACE = "\u00a0"
MINUS = "\u2212"


def percent(share: float, digits: int = 1) -> str:
    """0.9943 -> "99.4 %". A share that is not whole is never shown as 100 %, nor one above 0 as 0 %."""
    if not math.isfinite(share):
        return "not finite"
    text, edge = f"{share * 100:.{digits}f}", 10.0**-digits
    if share < 1.0 and float(text) >= 100.0:
        return f">{100 - edge:.{digits}f}{SPACE}%"
    if share > 0.0 and float(text) == 0.0:
        return f"<{edge:.{digits}f}{SPACE}%"
    return f"{text.removesuffix('.' + '0' * digits)}{SPACE}%" if share in (0.0, 1.0) else f"{text}{SPACE}%"


def count(number: int) -> str:
    """5483032 -> "5,483,032"."""
    return f"{number:,}"


def short(number: int) -> str:
    """5483032 -> "5.48 M"; three digits, with k, M or G."""
    for limit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= limit:
            return f"{_three(number / limit)}{SPACE}{letter}"
    return str(number)


def milliseconds(value: float) -> str:
    """0.8312 -> "0.831 ms"."""
    return f"{_three(value)}{SPACE}ms"


def seconds(value: float) -> str:
    """0.0142 -> "14.2 ms", 3.2 -> "3.20 s": how long a step or a pass took."""
    return milliseconds(value * 1000) if value < 1 else f"{_three(value)}{SPACE}s"


def megabytes(value: float) -> str:
    """5.483 -> "5.48 MB"; below a tenth in kB."""
    return f"{_three(value)}{SPACE}MB" if value >= 0.1 else f"{_three(value * 1000)}{SPACE}kB"


def decimal(value: float) -> str:
    """Three significant digits without trailing zeros; very small or large ones with an exponent."""
    if not math.isfinite(value):
        return "not finite"
    if value and not 1e-3 <= abs(value) < 1e6:
        digits, power = f"{value:.1e}".split("e")
        return f"{digits}e{int(power)}".replace("-", MINUS)
    text = _three(value)
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", MINUS)


def duration(seconds: float) -> str:
    """612.4 -> "10 min 12 s"; below a minute with one decimal."""
    if seconds < 60:
        return f"{seconds:.1f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{SPACE}h {minutes}{SPACE}min" if hours else f"{minutes}{SPACE}min {rest}{SPACE}s"


def size(size_px: tuple[int, int]) -> str:
    """(h, w) -> "h × w"."""
    return f"{size_px[0]}{SPACE}×{SPACE}{size_px[1]}"


def moment(iso: str) -> str:
    """ "2026-03-04T10:15:00+00:00" -> "2026-03-04 10:15 UTC"; text that is no ISO date is shown as it is."""
    try:
        parsed = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{parsed:%Y-%m-%d %H:%M} {parsed.tzname() or ''}".strip()


def metric(name: str) -> str:
    """A metric's key as it is written in the field: "top1" -> "top-1"."""
    return {"top1": "top-1", "top5": "top-5"}.get(name, name)


def plural(number: int, noun: str, many: str = "") -> str:
    """(1, "image") -> "1 image", (0, "image") -> "0 images"."""
    return f"{count(number)}{SPACE}{noun if number == 1 else many or noun + 's'}"


def _three(value: float) -> str:
    """Three significant digits without an exponent: 0.831, 8.31, 83.1, 831, 8,312."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"
