"""The report as one HTML file: no request leaves it, no script is needed to read it."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from ..files import write_atomic
from . import learning, results
from .beginning import beginning_section
from .markup import Html, el
from .overview import masthead, overview
from .record import FitReport

SECTIONS: tuple[tuple[str, str, Callable[[FitReport], Html]], ...] = (
    ("data", "Data", learning.data_section),
    ("network", "Network", learning.network_section),
    ("beginning", "Beginning", beginning_section),
    ("training", "Training", learning.training_section),
    ("classes", "Classes", results.classes_section),
    ("confusion", "Confusion", results.confusion_section),
    ("mistakes", "Mistakes", results.mistakes_section),
    ("calibration", "Calibration", results.calibration_section),
    ("verification", "Verification", results.verification_section),
    ("speed", "Speed", results.speed_section),
    ("memory", "Memory", learning.memory_section),
    ("provenance", "Provenance", results.provenance_section),
)


def write_report(path: Path, report: FitReport) -> None:
    """Write `report` as one HTML file, whole or not at all. Raises UsageError where `path` can't be written."""
    write_atomic(path, html_report(report))


def html_report(report: FitReport) -> str:
    """The page as text. Sections whose part of the record is missing are left out."""
    drawn = [(key, name, draw(report)) for key, name, draw in SECTIONS]
    links = [el("a", name, attributes={"href": f"#{key}"}) for key, name, body in drawn if body]
    navigation = el("nav", el("div", *links), attributes={"aria-label": "sections"})
    main = el("main", overview(report), *(body for _, _, body in drawn))
    foot = el("footer", "Written by mobilenets. This page is one file and reads nothing from the network.")
    head = el(
        "head",
        el("meta", attributes={"charset": "utf-8"}),
        el("meta", attributes={"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        el("meta", attributes={"name": "color-scheme", "content": "light dark"}),
        el("title", f"{report.title} · mobilenets report"),
        el("style", Html(_asset("page.css"))),
    )
    script = el("script", Html(_asset("sort.js")))
    body = el("body", masthead(report), navigation, main, foot, script)
    return f"<!doctype html>\n{el('html', head, body, attributes={'lang': 'en'})}\n"


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
