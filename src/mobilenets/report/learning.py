"""The sections about what was learnt from: data health, network and its cost, memory, training."""

import math
from collections.abc import Sequence

from ..records import ClassCount, Duplicate, EpochRow
from . import figures
from .diagram import network_diagram
from .markup import NOTHING, Html, el
from .parts import Cell, Table, facts, fold, picture, section, sentences, table, tile, tiles
from .plots import Line, line_chart, memory_chart
from .record import FitReport

SHOWN_FILES = 100
OPEN_COUNTS_UP_TO = 20


def data_section(report: FitReport) -> Html:
    """Counts, errors and warnings, class balance, leaks, unreadable files, sample pictures."""
    data = report.data
    if data is None:
        return section("data", "Data", _samples(report))
    numbers = (
        ("Images", figures.count(data.images)),
        ("Classes", figures.count(data.classes)),
        ("Leaks", figures.count(len(data.leaks))),
        ("Duplicates", figures.count(len(data.duplicates))),
        ("Unreadable", figures.count(len(data.unreadable))),
        ("Rotated by EXIF", figures.count(data.rotated)),
        ("Tiny", figures.count(len(data.tiny))),
    )
    modes = ", ".join(f"{mode} {figures.count(n)}" for mode, n in data.modes.items())
    sizes = ", ".join(f"{figures.size((h, w))} ({figures.count(n)})" for h, w, n in data.sizes_px[:6])
    return section(
        "data",
        "Data",
        el("div", *(_small_tile(name, value) for name, value in numbers), cls="tiles small"),
        sentences(data.errors, cls="errors"),
        sentences(data.warnings, cls="warnings"),
        facts((("Source", data.data), ("Split", data.split_origin), ("Modes", modes), ("Sizes (h × w)", sizes))),
        _samples(report),
        _counts(data.counts, report),
        _duplicates("Leaks: the same picture in two splits", data.leaks, is_open=True),
        _duplicates("Duplicates", [d for d in data.duplicates if d not in data.leaks], is_open=False),
        fold("Unreadable files", _files(report)),
    )


def network_section(report: FitReport) -> Html:
    """The stages as a picture, and what the network costs."""
    network = report.network
    if network is None:
        return NOTHING
    flash = network.flash_mb
    numbers = [
        tile("Weights", figures.short(network.params), f"{figures.count(network.params)} parameters"),
        tile("MACs", figures.short(network.macs), "multiply-adds for one image"),
        tile("Flash", figures.megabytes(flash.int8), f"int8; float32 {figures.megabytes(flash.float32)}"),
        tile(
            "Peak activations",
            figures.megabytes(network.peak_activation_mb.int8),
            f"int8; float32 {figures.megabytes(network.peak_activation_mb.float32)}",
        ),
    ]
    drawing = el("div", network_diagram(network.stages), cls="scroll") if network.stages else NOTHING
    return section("network", "Network", drawing, tiles(numbers), _candidates(report))


def memory_section(report: FitReport) -> Html:
    """Activation memory along the network, and what training takes."""
    network = report.network
    if network is None:
        return NOTHING
    layers = network.memory
    chart = (
        el(
            "div",
            memory_chart([x.name for x in layers], [x.alive_mb for x in layers], peak_layer=network.peak_layer),
            cls="scroll",
        )
        if layers
        else NOTHING
    )
    pairs = (
        ("Peak", f"{figures.megabytes(network.peak_activation_mb.float32)} at float32, in {network.peak_layer}"),
        ("Peak at int8", figures.megabytes(network.peak_activation_mb.int8)),
        ("Training", f"{figures.megabytes(network.training_mb_per_image)} per image of a batch"),
    )
    lead = "Activations alive while each layer runs, in execution order, for one image at float32."
    return section("memory", "Memory", chart, facts(pairs), lead=lead if layers else "")


def training_section(report: FitReport) -> Html:
    """Curves, and what the run chose."""
    training = report.training
    if training is None:
        return NOTHING
    rows = training.history
    loss = [_line("training", "a", rows, "train_loss"), _line("validation", "b", rows, "val_loss")]
    metric = [_line("training", "a", rows, "train_metric"), _line("validation", "b", rows, "metric")]
    best = float(training.best_epoch)
    best_metric = f"{figures.metric(report.metric)} {figures.percent(training.best_metric)}"
    curves = el(
        "div",
        line_chart(metric, title=figures.metric(report.metric), x_name="epoch", share=True, mark=best),
        line_chart(loss, title="loss", x_name="epoch", share=False, mark=best),
        cls="pair",
    )
    pairs = (
        ("Best epoch", f"{training.best_epoch} with {best_metric} on val"),
        ("Length", f"{figures.plural(training.epochs, 'epoch')}, {figures.plural(training.steps, 'step')}"),
        ("Time", figures.duration(training.seconds)),
        ("Ended", training.stopped),
        ("Batch", f"{training.batch} images, {training.memory_format}, {training.precision}"),
        ("Timed", ", ".join(f"{k.removesuffix('_s')} {figures.seconds(v)}" for k, v in training.timings.items())),
    )
    recipe = facts((name, _value(value)) for name, value in training.recipe.items())
    return section(
        "training", "Training", curves, facts(pairs), sentences(training.notes), fold("Recipe", recipe), _epochs(rows)
    )


def _small_tile(name: str, value: str) -> Html:
    return el("div", el("div", value, cls="tile-value"), el("div", name, cls="tile-name"), cls="tile")


def _samples(report: FitReport) -> Html:
    cards = [
        el(
            "figure",
            el("div", *(picture(p) for p in sample.pictures), cls="strip"),
            el("figcaption", _name(report, sample.label)),
            cls="sample",
        )
        for sample in report.samples
        if sample.pictures
    ]
    if not cards:
        return NOTHING
    grid, title = el("div", *cards, cls="samples"), "Training pictures"
    return el("div", el("h3", title), grid) if len(cards) <= OPEN_COUNTS_UP_TO else fold(title, grid)


def _counts(counts: Sequence[ClassCount], report: FitReport) -> Html:
    most = max((c.train for c in counts), default=0) or 1
    rows = [
        (
            Cell(_name(report, c.label), sort=_name(report, c.label).lower(), cls="name"),
            Cell(figures.count(c.train), sort=c.train, bar=c.train / most),
            Cell(figures.count(c.val), sort=c.val),
            Cell(figures.count(c.test), sort=c.test),
        )
        for c in counts
    ]
    columns = (("class", False), ("train", True), ("val", True), ("test", True))
    shown = table(Table(columns, rows, sortable=True, tall=len(rows) > OPEN_COUNTS_UP_TO))
    return fold("Images per class and split", shown)


def _duplicates(title: str, groups: Sequence[Duplicate], *, is_open: bool) -> Html:
    rows = [
        (Cell(d.kind), Cell(", ".join(d.splits)), Cell(", ".join(d.labels)), Cell("  ".join(d.files), cls="files"))
        for d in groups[:SHOWN_FILES]
    ]
    columns = (("kind", False), ("splits", False), ("labels", False), ("files", False))
    shown = table(Table(columns, rows, tall=len(rows) > 12))
    if not rows:
        return NOTHING
    return el("div", el("h3", title), shown) if is_open else fold(title, shown)


def _files(report: FitReport) -> Html:
    files = report.data.unreadable if report.data is not None else ()
    rows = [(Cell(f.file, cls="files"), Cell(f.kind), Cell(f.cause)) for f in files[:SHOWN_FILES]]
    return table(Table((("file", False), ("kind", False), ("cause", False)), rows, tall=len(rows) > 12))


def _candidates(report: FitReport) -> Html:
    slowest = max((c.median_ms for c in report.candidates), default=0.0) or 1.0
    rows = [
        (
            Cell(("→ " if c.chosen else "") + c.network, cls="name strong" if c.chosen else "name"),
            Cell(f"{c.alpha:g}", sort=c.alpha),
            Cell(figures.size(c.resolution_px)),
            Cell(figures.short(c.macs), sort=c.macs),
            Cell(figures.megabytes(c.file_mb), sort=c.file_mb),
            Cell(figures.milliseconds(c.median_ms), sort=c.median_ms, bar=c.median_ms / slowest),
            Cell("chosen" if c.chosen else "fits" if c.fits else "too costly"),
            Cell(c.reason),
        )
        for c in report.candidates
    ]
    columns = (
        ("network", False), ("α", True), ("h × w", True), ("MACs", True), ("file", True), ("median", True),
        ("budget", False), ("why", False),
    )  # fmt: skip
    shown = table(Table(columns, rows, sortable=True))
    return el("div", el("h3", "Networks tried on this machine"), shown) if rows else NOTHING


def _epochs(history: Sequence[EpochRow]) -> Html:
    rows = [
        (
            Cell(str(r.epoch)),
            Cell(figures.decimal(r.train_loss)),
            Cell(figures.decimal(r.val_loss) if math.isfinite(r.val_loss) else "–"),
            Cell(figures.percent(r.train_metric)),
            Cell(figures.percent(r.metric) if math.isfinite(r.metric) else "–"),
            Cell(figures.decimal(r.lr)),
            Cell(figures.decimal(r.images_per_s)),
        )
        for r in history
    ]
    names = ("epoch", "training loss", "val loss", "training metric", "val metric", "learning rate", "images/s")
    return fold("Every epoch", table(Table(tuple((name, True) for name in names), rows, tall=len(rows) > 12)))


def _line(name: str, tone: str, rows: Sequence[EpochRow], field: str) -> Line:
    return Line(name, "a" if tone == "a" else "b", tuple((float(r.epoch), float(getattr(r, field))) for r in rows))


def _name(report: FitReport, identity: str) -> str:
    ids = report.labels.ids
    return report.labels.name(ids.index(identity)) if identity in ids else identity


def _value(value: object) -> str:
    if isinstance(value, float):
        return figures.decimal(value)
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
