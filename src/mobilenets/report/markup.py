"""HTML as values: text is escaped unless it is already `Html`, so no user string can become markup by mistake."""

from collections.abc import Iterable, Mapping
from html import escape


class Html(str):
    """A string that is markup already."""

    __slots__ = ()


VOID = frozenset({"img", "br", "hr", "meta", "circle", "line", "path", "polyline"})
"""Elements written without an end tag (the shapes of SVG close themselves)."""

NOTHING = Html("")


def el(tag: str, *children: str, cls: str = "", attributes: Mapping[str, str | float] | None = None) -> Html:
    """The element `tag` around `children`; a child that is no `Html` is text and is escaped.

    `cls` is its class attribute. Attribute values are escaped; numbers are written with at most two decimals.
    """
    pairs = {**({"class": cls} if cls else {}), **(attributes or {})}
    written = "".join(f' {key}="{escape(_plain(value))}"' for key, value in pairs.items())
    if tag in VOID:
        return Html(f"<{tag}{written}/>")
    return Html(f"<{tag}{written}>{join(children)}</{tag}>")


def join(children: Iterable[str]) -> Html:
    """Children one after the other, text escaped."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))


def _plain(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
