"""The first screen of a report: verdict, six figures, what to do next."""

import shlex

from . import figures
from .advice import next_steps, verdict
from .markup import Html, el
from .parts import sentences, tile, tiles
from .record import FitReport

SIGNS = {"good": "✓", "caution": "!", "bad": "✕"}


def masthead(report: FitReport) -> Html:
    """Title, network and date."""
    network = report.network
    parts = [figures.moment(report.created)]
    if network is not None:
        width = f" × {f'{network.alpha:g}'}" if network.alpha is not None and network.alpha != 1.0 else ""
        parts.insert(0, f"{network.name}{width} at {figures.size(network.resolution_px)} px")
    classes = figures.plural(len(report.labels), "class", "classes")
    return el(
        "header",
        el("p", "mobilenets report", cls="overline"),
        el("h1", report.title),
        el("p", " · ".join((classes, *parts)), cls="subtitle"),
        cls="masthead",
    )


def overview(report: FitReport) -> Html:
    """The verdict with its figures, and the next steps."""
    said = verdict(report)
    banner = el(
        "div",
        el("span", SIGNS[said.state], cls="sign", attributes={"aria-hidden": "true"}),
        el("div", el("strong", said.headline), el("p", said.reason)),
        cls=f"verdict {said.state}",
    )
    steps = sentences(next_steps(report))
    todo = el("div", el("h3", "What to do next"), steps, _try_it(report), cls="next")
    return el("section", banner, tiles(_figures(report)), todo, attributes={"id": "overview"})


def _figures(report: FitReport) -> list[Html]:
    found: list[Html] = []
    if (test := report.test) is not None:
        low, high = (figures.percent(end) for end in test.interval)
        note = f"95 % interval {low} to {high}, {figures.plural(test.images, 'image')}"
        found.append(tile("Test top-1", figures.percent(test.top1), note))
        note = f"mean recall of the classes; top-5 {figures.percent(test.top5)}"
        found.append(tile("Balanced top-1", figures.percent(test.balanced_top1), note))
    if report.verification:
        checked = report.verification[0]
        note = f"{checked.file} and the trained network, {figures.plural(checked.images, 'image')}"
        found.append(tile("Agreement", figures.percent(checked.top1_agreement), note))
    if report.bench is not None and report.bench.rows:
        row = report.bench.rows[0]
        note = f"median, {row.target} {row.precision}, {figures.plural(row.threads, 'thread')}, batch {row.batch}"
        found.append(tile("Latency", figures.milliseconds(row.median_ms), note))
        found.append(tile("File", figures.megabytes(row.file_mb), f"{row.target} {row.precision}"))
    if (network := report.network) is not None:
        found.append(tile("Weights", figures.short(network.params), f"{figures.short(network.macs)} MACs per image"))
    return found


def _try_it(report: FitReport) -> Html:
    line = f"mobilenets predict {shlex.quote(report.model)} picture.jpg"
    size = f" ({figures.megabytes(report.model_mb)})" if report.model_mb is not None else ""
    return el("p", f"Try the model file{size}: ", el("code", line))
