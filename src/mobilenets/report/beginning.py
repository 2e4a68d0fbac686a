"""The section about the weights that training began with, and what training on added to them."""

from ..records import Evaluation
from . import figures
from .markup import NOTHING, Html, el
from .parts import Cell, Table, facts, fold, section, sentences, table
from .record import Beginning, FitReport


def beginning_section(report: FitReport) -> Html:
    """Source, licence and hash; what was replaced or adapted; the linear probe beside the trained network."""
    found = report.beginning
    if found is None:
        return NOTHING
    pairs = (
        ("Weights", found.source),
        ("File", f"{found.file} ({found.format})"),
        ("Licence", found.licence or "not told by the file"),
        ("Quoted accuracy", f"{found.quoted} (its source's figure, not measured here)" if found.quoted else ""),
        ("Hash", found.sha256),
    )
    return section(
        "beginning",
        "Beginning",
        facts(pairs),
        sentences(found.changes),
        _gain(report, found),
        fold("What was read off the file", sentences(found.evidence)),
        lead="Training began with the weights of another network.",
    )


def _gain(report: FitReport, found: Beginning) -> Html:
    if found.probe is None or report.test is None:
        return NOTHING
    rows = [_row("linear probe on frozen features", found.probe), _row("trained on", report.test)]
    if found.gain is not None:
        gain, low, high = (f"{100 * share:+.1f}" for share in found.gain)
        rows.append((Cell("difference, points"), Cell(""), Cell(gain), Cell(f"{low} to {high}")))
    names = (("network", False), ("images", True), ("top-1", True), ("95 % interval", True))
    return el("div", el("h3", "What training on has added"), table(Table(names, rows)))


def _row(name: str, found: Evaluation) -> tuple[Cell, ...]:
    low, high = (figures.percent(end) for end in found.interval)
    return (
        Cell(name), Cell(figures.count(found.images)), Cell(figures.percent(found.top1)), Cell(f"{low} to {high}"),
    )  # fmt: skip
