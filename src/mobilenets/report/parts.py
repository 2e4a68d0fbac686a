"""The pieces that every section is made of: section, tiles, tables, lists of facts, pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .markup import NOTHING, Html, el, join
from .record import Picture

PIXELATED_UP_TO_PX = 64


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell: what it shows, the value it sorts by, and the share (0..1) of a bar behind it."""

    text: str
    sort: float | str | None = None
    bar: float | None = None
    cls: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns (name, is numeric) and rows of cells. `tall` puts it in a box that scrolls; `sortable` by its heads."""

    columns: tuple[tuple[str, bool], ...]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = False
    tall: bool = False
    cls: str = field(default="")


def section(key: str, title: str, *children: str, lead: str = "") -> Html:
    """A titled part of the page; nothing where it has no children."""
    kept = [child for child in children if child]
    if not kept:
        return NOTHING
    intro = el("p", lead, cls="lead") if lead else NOTHING
    return el("section", el("h2", title), intro, *kept, attributes={"id": key})


def table(content: Table) -> Html:
    """The table in a box of its own, so that a narrow screen scrolls it and not the page."""
    if not content.rows:
        return NOTHING
    heads = [_head(name, numeric, sortable=content.sortable) for name, numeric in content.columns]
    numeric = [is_numeric for _, is_numeric in content.columns]
    body = [el("tr", *(_cell(c, n) for c, n in zip(row, numeric, strict=True))) for row in content.rows]
    cls = f"{content.cls} sortable" if content.sortable else content.cls
    grid = el("table", el("thead", el("tr", *heads)), el("tbody", *body), cls=cls.strip())
    return el("div", grid, cls="table tall" if content.tall else "table", attributes={"tabindex": "0"})


def tile(name: str, value: str, note: str = "") -> Html:
    """A figure with its name above and what it rests on below."""
    return el(
        "div",
        el("div", name, cls="tile-name"),
        el("div", value, cls="tile-value"),
        el("div", note, cls="tile-note"),
        cls="tile",
    )


def tiles(items: Iterable[Html]) -> Html:
    return el("div", *items, cls="tiles")


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Names and values, line by line."""
    lines = [join((el("dt", name), el("dd", value))) for name, value in pairs if value]
    return el("dl", *lines, cls="facts") if lines else NOTHING


def sentences(items: Iterable[str], *, cls: str = "") -> Html:
    lines = [el("li", item) for item in items]
    return el("ul", *lines, cls=f"sentences {cls}".strip()) if lines else NOTHING


def fold(summary: str, *children: str) -> Html:
    """Something to open: closed at first."""
    kept = [child for child in children if child]
    return el("details", el("summary", summary), *kept) if kept else NOTHING


def picture(shown: Picture) -> Html:
    """The picture as a data URI; tiny ones are enlarged without smoothing."""
    h, w = shown.size_px
    return el(
        "img",
        cls="pixels" if max(h, w) <= PIXELATED_UP_TO_PX else "",
        attributes={
            "src": f"data:{shown.kind};base64,{shown.data}",
            "alt": shown.file,
            "title": shown.file,
            "width": str(w),
            "height": str(h),
        },
    )


def _head(name: str, numeric: bool, *, sortable: bool) -> Html:
    inner = el("button", name, attributes={"type": "button"}) if sortable else Html(join([name]))
    return el("th", inner, cls="num" if numeric else "", attributes={"scope": "col"})


def _cell(cell: Cell, numeric: bool) -> Html:
    attributes: dict[str, str | float] = {}
    if cell.sort is not None:
        attributes["data-sort"] = repr(cell.sort) if isinstance(cell.sort, float) else str(cell.sort)
    inner: Html = join([cell.text])
    if cell.bar is not None:
        filled = el("i", attributes={"style": f"width:{max(0.0, min(1.0, cell.bar)) * 100:.1f}%"})
        inner = el("span", el("span", filled, cls="bar-track"), el("span", inner), cls="bar-cell")
    return el("td", inner, cls=f"{'num' if numeric else ''} {cell.cls}".strip(), attributes=attributes)
