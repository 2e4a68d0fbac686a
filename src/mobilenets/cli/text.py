"""Answers for the eye: aligned columns that stay plain text, so that grep and cut work on them."""

from collections.abc import Iterable, Sequence

LEFT = "<"
RIGHT = ">"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> list[str]:
    """`rows` under `head` in columns two spaces apart; the first `left` columns start at the left, the others end at
    the right. An empty head leaves the heading out."""
    lines = [tuple(head), *map(tuple, rows)] if any(head) else [tuple(row) for row in rows]
    if not lines:
        return []
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    sides = [LEFT if i < left else RIGHT for i in range(len(widths))]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)).rstrip()
        for line in lines
    ]


def facts(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Name and value, a line each, the values under each other."""
    return table(("", ""), rows, left=2)


def some(lines: Sequence[str], most: int) -> list[str]:
    """The first `most` lines, and how many more there are."""
    rest = len(lines) - most
    return [*lines[:most], f"... and {rest} more (all with --json)"] if rest > 0 else list(lines)
