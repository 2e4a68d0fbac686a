"""The sections about what came out: per class, confusion, mistakes, calibration, verification, speed, provenance."""

from ..records import BenchRow, Check, Machine, Verification
from . import figures
from .advice import most_confused, own_warnings, worst_first
from .markup import NOTHING, Html, el, join
from .parts import Cell, Table, facts, picture, section, sentences, table, tile, tiles
from .plots import confusion_map, reliability_chart
from .record import FitReport

PAIRS = 12
TALL_FROM = 16


def classes_section(report: FitReport) -> Html:
    """Recall, precision and F1 of each class, the weakest first."""
    test = report.test
    if test is None:
        return NOTHING
    rows = []
    for k in worst_first(test):
        score, name = test.per_class[k], report.labels.name(k)
        shares = (score.recall, score.precision, score.f1) if score.images else (None, None, None)
        rows.append(
            [
                Cell(name, sort=name.lower(), cls="name"),
                Cell(figures.count(score.images), sort=score.images),
                Cell(figures.count(score.correct), sort=score.correct),
                *(Cell("–", sort=-1.0) if s is None else Cell(figures.percent(s), sort=s, bar=s) for s in shares),
            ]
        )
    columns = (("class", False), ("images", True), ("right", True), ("recall", True), ("precision", True), ("F1", True))
    grid = table(Table(columns, rows, sortable=True, tall=len(rows) > TALL_FROM, cls="wide-bars"))
    lead = "Recall: how many of a class's pictures are recognised. Precision: how many of its answers are right."
    by_class = el("h3", "Per class, the weakest first")
    return section("classes", "Test results", _splits(report), by_class, el("p", lead, cls="lead"), grid)


def confusion_section(report: FitReport) -> Html:
    """The matrix as a map, and the pairs confused most often as a table."""
    test = report.test
    if test is None:
        return NOTHING
    names = [report.labels.name(k) for k in range(len(report.labels))]
    pairs = most_confused(test, PAIRS)
    rows = [
        (
            Cell(names[c.truth], cls="name"),
            Cell(names[c.answer], cls="name"),
            Cell(_of(c.images, c.of)),
        )
        for c in pairs
    ]
    grid = table(Table((("truth", False), ("answered", False), ("images", True)), rows))
    side = el("div", el("h3", "Confused most often"), grid) if rows else el("p", "No picture was confused.", cls="lead")
    drawn = el("div", confusion_map(test.confusion, names), cls="map")
    lead = "Each row is a true class, each column an answer; the stronger a cell, the larger its share of the row."
    return section("confusion", "Confusion", el("div", drawn, side, cls="map-and-pairs"), lead=lead)


def mistakes_section(report: FitReport) -> Html:
    """The wrong answers given with most confidence, as pictures."""
    cards = []
    for item in report.mistakes:
        mistake = item.mistake
        shown = picture(item.picture) if item.picture is not None else el("div", "not shown", cls="no-picture")
        names = [_name(report, mistake.truth), _name(report, mistake.answer)]
        caption = el(
            "figcaption",
            el("span", names[0], cls="truth"),
            el(
                "span",
                el("span", names[1], cls="answer"),
                el("b", figures.percent(mistake.probability, 0)),
                cls="answered",
            ),
            el("span", mistake.file, cls="file", attributes={"title": mistake.file}),
        )
        cards.append(el("figure", el("div", shown, cls="frame"), caption, cls="mistake"))
    lead = "Wrong answers on test pictures, the surest first: what it is, then what was answered and how surely."
    grid = el("div", *cards, cls="mistakes") if cards else NOTHING
    return section("mistakes", "Worst mistakes", grid, lead=lead)


def calibration_section(report: FitReport) -> Html:
    """Reliability before and after temperature scaling, and the threshold of "none of these"."""
    calibration = report.calibration
    if calibration is None:
        return NOTHING
    numbers = [
        tile("Temperature", figures.decimal(calibration.temperature), "logits are divided by it"),
        tile(
            "Calibration error",
            figures.percent(calibration.ece_after),
            f"mean gap of confidence and accuracy; {figures.percent(calibration.ece_before)} before",
        ),
    ]
    if calibration.energy_threshold is not None:
        kept = f"{figures.percent(calibration.known_kept)} of known pictures get a label"
        value = f"energy > {figures.decimal(calibration.energy_threshold)}"
        numbers.append(tile("None of these", value, kept))
    else:
        numbers.append(tile("None of these", "off", "every picture gets a label"))
    charts = [
        reliability_chart(bins, title=title)
        for bins, title in ((calibration.bins_before, "before"), (calibration.bins_after, "after, as predict answers"))
        if bins
    ]
    images = figures.plural(calibration.images, "image")
    honest = "On the diagonal, 80\u00a0% sure is right 80\u00a0% of the time"
    lead = f"Fitted on {images} of {calibration.split}. {honest}; orange is too sure, pale blue not sure enough."
    pair = el("div", *charts, cls="pair narrow") if charts else NOTHING
    return section("calibration", "Calibration", tiles(numbers), pair, lead=lead if calibration.images else "")


def verification_section(report: FitReport) -> Html:
    """Each exported file against the trained network, check by check."""
    return section("verification", "Verification", *(_verified(v) for v in report.verification))


def speed_section(report: FitReport) -> Html:
    """Latency of each row, and the machine that it was measured on."""
    bench = report.bench
    if bench is None or not bench.rows:
        return NOTHING
    slowest = max(row.median_ms for row in bench.rows) or 1.0
    columns = (
        ("network", False), ("target", False), ("threads", True), ("batch", True), ("median", True), ("p90", True),
        ("images/s", True), ("file", True), ("load", True),
    )  # fmt: skip
    grid = table(Table(columns, [_bench_row(row, slowest) for row in bench.rows], sortable=True))
    noise = f"the same row timed twice differs by a factor of {figures.decimal(bench.aa_spread)}"
    return section("speed", "Speed", grid, facts((*_machine(bench.machine), ("Noise (A/A)", noise))))


def provenance_section(report: FitReport) -> Html:
    """Where everything came from, and the line that makes it again."""
    command = el("div", el("h3", "Make it again"), el("pre", el("code", report.command)), cls="again")
    again = command if report.command else NOTHING
    pairs = (("Model file", report.model), ("Created", figures.moment(report.created)), *report.provenance)
    shown = report.training.notes if report.training is not None else ()
    notes = sentences(note for note in report.notes if note not in shown)
    warnings = sentences(own_warnings(report), cls="warnings")
    return section("provenance", "Provenance", warnings, notes, facts(pairs), again)


def _splits(report: FitReport) -> Html:
    rows = []
    for name, found in (("test", report.test), ("val", report.val)):
        if found is not None:
            low, high = found.interval
            rows.append(
                (
                    Cell(name),
                    Cell(figures.count(found.images)),
                    Cell(figures.percent(found.top1)),
                    Cell(f"{figures.percent(low)} to {figures.percent(high)}"),
                    Cell(figures.percent(found.top5)),
                    Cell(figures.percent(found.balanced_top1)),
                )
            )
    names = ("images", "top-1", "95 % interval", "top-5", "balanced top-1")
    return table(Table((("split", False), *((name, True) for name in names)), rows))


def _of(part: int, whole: int) -> str:
    return f"{figures.count(part)} of {figures.count(whole)}"


def _verified(found: Verification) -> Html:
    state = "good" if found.passed else "bad"
    head = el(
        "h3",
        el("span", "passed" if found.passed else "failed", cls=f"badge {state}"),
        join([f" {found.file} ({found.target})"]),
    )
    pairs = (
        ("Images", figures.count(found.images)),
        ("Same top-1", figures.percent(found.top1_agreement)),
        ("Largest logit error", f"{figures.decimal(found.max_relative_error)} of the largest logit"),
        ("Mean logit error", f"{figures.decimal(found.mean_relative_error)} of the largest logit"),
    )
    columns = (("", False), ("check", False), ("found", True), ("limit", True), ("", False))
    grid = table(Table(columns, [_check_row(check) for check in found.checks]))
    return el("div", head, facts(pairs), grid, cls="verified")


def _check_row(check: Check) -> tuple[Cell, ...]:
    value, limit = (figures.decimal(x) if x is not None else "" for x in (check.value, check.limit))
    sign = Cell("✓", cls="ok") if check.passed else Cell("✕", cls="no")
    return (sign, Cell(check.name, cls="name"), Cell(value), Cell(limit), Cell(check.detail))


def _bench_row(row: BenchRow, slowest: float) -> tuple[Cell, ...]:
    return (
        Cell(row.network, cls="name"),
        Cell(f"{row.target} {row.precision}"),
        Cell(str(row.threads), sort=row.threads),
        Cell(str(row.batch), sort=row.batch),
        Cell(figures.milliseconds(row.median_ms), sort=row.median_ms, bar=row.median_ms / slowest),
        Cell(figures.milliseconds(row.p90_ms), sort=row.p90_ms),
        Cell(figures.decimal(row.images_per_s), sort=row.images_per_s),
        Cell(figures.megabytes(row.file_mb), sort=row.file_mb),
        Cell(figures.milliseconds(row.load_ms) if row.load_ms else "–", sort=row.load_ms),
    )


def _machine(machine: Machine) -> tuple[tuple[str, str], ...]:
    versions = ", ".join(f"{name} {version}" for name, version in (machine.versions or {}).items())
    memory = f"{figures.decimal(machine.memory_gb)}{figures.SPACE}GB"
    return (
        ("Machine", f"{machine.cpu}, {figures.plural(machine.cores, 'core')}, {memory}"),
        ("Instruction sets", ", ".join(machine.isa)),
        ("System", f"{machine.system}, Python {machine.python}"),
        ("Versions", versions),
        ("Load at the start", figures.decimal(machine.load)),
    )


def _name(report: FitReport, identity: str) -> str:
    ids = report.labels.ids
    return report.labels.name(ids.index(identity)) if identity in ids else identity
