"""The report: one well-formed page, no request, everything escaped, no number that no record holds."""

import dataclasses
import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from example import NASTY, example

from mobilenets.codec import from_json, to_json
from mobilenets.errors import UsageError
from mobilenets.records import Labels, Mistake
from mobilenets.report import FitReport, MistakePicture, figures, html_report, write_report
from mobilenets.report.page import SECTIONS

VOID = {"meta", "img", "br", "circle", "line", "path", "polyline"}
IDS = [key for key, _, _ in SECTIONS]


class Page(HTMLParser):
    """A strict reading: every element is closed in order; texts are kept with the classes they stand in."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, str]] = []
        self.texts: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        assert len(known) == len(attrs), f"<{tag}> has an attribute twice"
        self.tags.append(tag)
        self.ids += [known["id"] or ""] if "id" in known else []
        self.links += [str(known[key]) for key in ("href", "src", "action", "data", "poster", "srcset") if key in known]
        assert not any(name.startswith("on") for name in known), f"<{tag}> has a handler"
        if tag not in VOID:
            self.open.append((tag, known.get("class") or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID, f"<{tag}/> is not a void element"
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop()[0] == tag, f"</{tag}> out of order"

    def handle_data(self, data: str) -> None:
        tag, cls = self.open[-1] if self.open else ("", "")
        if data.strip():
            self.texts.append((tag, cls, data))


@pytest.fixture(scope="module")
def report() -> FitReport:
    return example(10)


@pytest.fixture(scope="module")
def page(report: FitReport) -> str:
    return html_report(report)


def test_the_record_is_its_own_json(report: FitReport) -> None:
    assert from_json(FitReport, to_json(report)) == report


@pytest.mark.parametrize("classes", [1, 2, 10, 25, 26, 81])
def test_the_page_is_well_formed_and_has_every_section(classes: int) -> None:
    read = Page(html_report(example(classes)))
    expected = ["overview", *(key for key in IDS if key != "mistakes" or classes > 1)]
    assert read.ids == expected
    assert [link[1:] for link in read.links if link.startswith("#")] == expected[1:]


def test_nothing_is_fetched(page: str) -> None:
    links = Page(page).links
    assert all(link.startswith(("#", "data:image/")) for link in links)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    words = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"//\w", words)
    for word in ("fetch(", "XMLHttpRequest", "import(", "WebSocket", "<link", "<iframe"):
        assert word not in page


def test_user_strings_are_escaped_wherever_they_stand(report: FitReport) -> None:
    words = '</script><img src=x onerror="alert(1)">&\'"'
    labels = Labels(report.labels.ids, tuple(f"{words}{k}" for k in range(10)))
    mistake = Mistake(words, report.labels.ids[0], report.labels.ids[1], 0.9)
    hostile = dataclasses.replace(
        report,
        title=words,
        created=words,
        command=words,
        model=words,
        labels=labels,
        notes=(words,),
        warnings=(words,),
        provenance=((words, words),),
        mistakes=(MistakePicture(mistake, dataclasses.replace(report.samples[0].pictures[0], file=words)),),
        verification=(dataclasses.replace(report.verification[0], file=words, passed=False),),
    )
    text = html_report(hostile)
    clean = Page(html_report(report))
    read = Page(text)
    assert "<img src=x" not in text
    assert read.tags.count("script") == clean.tags.count("script") == 1
    assert any(words in data for _, _, data in read.texts)
    assert "<script>alert" not in html_report(report), "the file name of the data section is escaped"
    assert NASTY in unescape(html_report(report))


def test_the_broken_twin_is_caught(page: str) -> None:
    """The checks above reject a page with an unescaped name, an open element and a foreign picture."""
    with pytest.raises(AssertionError):
        Page(page.replace("</main>", "<b></main>"))
    with pytest.raises(AssertionError):
        Page(page.replace("<h1>", "<h1 onclick='x()'>"))
    foreign = Page(page.replace("<h1>", "<img src='https://example.org/x.png'/><h1>"))
    assert not all(link.startswith(("#", "data:image/")) for link in foreign.links)


NUMBER = re.compile(r"(?:(?<!\w)[−-])?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[−-]?\d+)?")
FIXED = {"95", "80", "1", "5"}
"""Numbers in the page's own words: "95 % interval", "80 % sure", "top-1", "F1", "top-5"."""


def numbers_of(value: Any) -> Iterator[float]:
    """Every number of a record, and how many items its lists have."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from numbers_of(getattr(value, field.name))
    elif isinstance(value, dict):
        yield from numbers_of(list(value.values()))
    elif isinstance(value, (list, tuple)):
        yield len(value)
        for item in value:
            yield from numbers_of(item)
    elif isinstance(value, (int, float)):
        yield value


def strings_of(value: Any) -> Iterator[str]:
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if field.name != "data" or not isinstance(getattr(value, "data", None), str) or hasattr(value, "counts"):
                yield from strings_of(getattr(value, field.name))
    elif isinstance(value, dict):
        yield from strings_of(list(value.items()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings_of(item)
    elif isinstance(value, str):
        yield value


def written_forms(number: float) -> Iterator[str]:
    forms = [figures.decimal(number), figures.milliseconds(number), figures.megabytes(number), figures.duration(number)]
    forms.append(figures.seconds(number))
    forms += [figures.percent(number), figures.percent(number, 0), f"{number:g}"]
    if number == int(number) and number >= 0:
        forms += [figures.count(int(number)), figures.short(int(number)), str(int(number))]
    for form in forms:
        yield from NUMBER.findall(form)


def strange_numbers(report: FitReport, text: str) -> set[str]:
    """Numbers on the page that are no written form of a number of the record, nor in one of its strings."""
    known = {form for number in set(numbers_of(report)) for form in written_forms(number)} | FIXED
    for string in {*strings_of(report), figures.moment(report.created)}:
        known.update(NUMBER.findall(string))
    shown: set[str] = set()
    for tag, cls, data in Page(text).texts:
        if tag not in ("style", "script") and "tick" not in cls.split():
            shown.update(NUMBER.findall(data))
    return shown - known


def test_every_number_shown_stands_in_the_record(report: FitReport, page: str) -> None:
    assert strange_numbers(report, page) == set()
    assert strange_numbers(dataclasses.replace(report, model_mb=7.77), page) == {"2.41"}, "a stale figure is caught"


def test_a_page_of_81_classes_stays_small() -> None:
    report = example(81, per_class=6)
    assert len(html_report(report)) < 2_500_000
    bare = dataclasses.replace(report, mistakes=(), samples=())
    assert len(html_report(bare)) < 160_000


def test_many_hundred_classes_stay_a_page() -> None:
    text = html_report(dataclasses.replace(example(400, per_class=2, skill=4.0), mistakes=(), samples=()))
    assert len(text) < 800_000


def test_missing_parts_leave_no_trace() -> None:
    bare = FitReport(title="x", created="2026-01-01", command="", model="m", labels=Labels(("a", "b")))
    read = Page(html_report(bare))
    assert read.ids == ["overview", "provenance"]
    for part in ("data", "network", "training", "test", "calibration", "bench"):
        html_report(dataclasses.replace(example(10), **{part: None}))


def test_pictures_that_may_not_be_shared_are_not_there(report: FitReport) -> None:
    hidden = tuple(MistakePicture(item.mistake) for item in report.mistakes)
    text = html_report(dataclasses.replace(report, mistakes=hidden, samples=()))
    assert "data:image" not in text
    assert "not shown" in text


def test_written_whole_to_its_path(tmp_path: Path, report: FitReport, page: str) -> None:
    write_report(tmp_path / "new" / "report.html", report)
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == page
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["report.html"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="can't be written"):
        write_report(tmp_path / "file" / "report.html", report)


def test_labels_and_evaluation_must_fit(report: FitReport) -> None:
    with pytest.raises(UsageError, match="10 classes evaluated, 2 labels"):
        dataclasses.replace(report, labels=Labels(("a", "b")))
