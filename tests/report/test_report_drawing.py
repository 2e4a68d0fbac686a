"""The pieces of a page: numbers as text, charts, pictures, escaping."""

import base64
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mobilenets.errors import UsageError
from mobilenets.records import Reliability, StageSummary
from mobilenets.report import Picture, figures, thumbnail
from mobilenets.report.diagram import network_diagram
from mobilenets.report.markup import Html, el
from mobilenets.report.parts import Cell, Table, section, table
from mobilenets.report.plots import Line, confusion_map, line_chart, memory_chart, nice_ticks, reliability_chart


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.9943, "99.4 %"), (0.99999, ">99.9 %"), (0.0001, "<0.1 %"), (0.5, "50.0 %")],
)
def test_percent_never_rounds_to_a_certainty(share: float, text: str) -> None:
    assert figures.percent(share).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (figures.short(5_483_032), "5.48 M"),
        (figures.short(216_589_000), "217 M"),
        (figures.short(999), "999"),
        (figures.short(1_006_000_000), "1.01 G"),
        (figures.count(5_483_032), "5,483,032"),
        (figures.milliseconds(0.8312), "0.831 ms"),
        (figures.milliseconds(1234.5), "1,234 ms"),
        (figures.seconds(0.0142), "14.2 ms"),
        (figures.seconds(3.2), "3.20 s"),
        (figures.megabytes(21.93), "21.9 MB"),
        (figures.megabytes(0.0216), "21.6 kB"),
        (figures.megabytes(0.0), "0 kB"),
        (figures.decimal(3.1e-6), "3.1e−6"),
        (figures.decimal(-3.081), "−3.08"),
        (figures.decimal(0.4), "0.4"),
        (figures.decimal(float("nan")), "not finite"),
        (figures.duration(612.4), "10 min 12 s"),
        (figures.duration(59.96), "60.0 s"),
        (figures.duration(3725.0), "1 h 2 min"),
        (figures.plural(1, "class", "classes"), "1 class"),
        (figures.plural(1797, "image"), "1,797 images"),
        (figures.moment("2026-03-04T10:15:00+00:00"), "2026-03-04 10:15 UTC"),
        (figures.moment("yesterday"), "yesterday"),
    ],
)
def test_numbers_as_text(written: str, text: str) -> None:
    assert written.replace("\u00a0", " ") == text


@given(st.text(), st.text())
def test_text_and_attributes_are_always_escaped(text: str, value: str) -> None:
    made = el("p", text, attributes={"title": value})
    assert made.count("<") == 2
    assert made.count('"') == 2
    assert el("p", Html("<b>x</b>")) == "<p><b>x</b></p>"


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_cover_the_range_and_are_few(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span)
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(ticks)
    assert ticks[0] <= low + 1e-6 * span + 1e-9
    assert ticks[-1] >= low + span - 1e-6 * span - 1e-9


def test_a_curve_skips_what_is_not_finite_and_vanishes_without_points() -> None:
    line = Line("loss", "a", ((1.0, 2.0), (2.0, math.nan), (3.0, math.inf), (4.0, 1.0)))
    drawn = line_chart([line], title="loss", x_name="epoch", share=False, mark=4.0)
    assert "nan" not in drawn
    assert "inf" not in drawn
    assert drawn.count("polyline") == 1
    assert line_chart([Line("loss", "a", ())], title="loss", x_name="epoch", share=False) == ""
    one = line_chart([Line("loss", "a", ((1.0, 0.0),))], title="loss", x_name="epoch", share=True)
    assert "nan" not in one, "a run of one epoch has no width"


def test_a_reliability_bar_says_which_side_it_is_on() -> None:
    over = Reliability(0.8, 0.9, 10, 0.85, 0.5)
    drawn = reliability_chart([over, Reliability(0.9, 1.0, 0, 0.0, 0.0)], title="before")
    assert drawn.count('class="gap over"') == 1
    assert "gap under" not in drawn
    assert "confidence 85.0\u00a0%, right 50.0\u00a0%, 10\u00a0images" in drawn


def test_the_confusion_map_names_few_classes_and_packs_many() -> None:
    few = confusion_map([[3, 1], [0, 4]], ["a", "b"])
    assert few.count("cell-count") == 3, "an empty cell has no number"
    rng = np.random.default_rng(0)
    many = confusion_map(rng.integers(0, 3, (300, 300)).tolist(), ["x"] * 300)
    assert many.count("<path") <= 16
    assert "cell-count" not in many
    empty = confusion_map([[0, 0], [0, 1]], ["a", "b"])
    assert empty.count("<path") == 1, "a class without images divides nothing by zero"


def test_memory_and_stages_point_out_what_they_should() -> None:
    chart = memory_chart(["a", "b", "c"], [1.0, 3.0, 2.0], peak_layer="b")
    assert chart.count("bar peak") == 1
    assert "b · 3.00\u00a0MB" in chart
    stages = [
        StageSummary("stem", 1, "convolution", 16, (112, 96), 432, 5_000_000),
        StageSummary("head", 1, "linear", 1000, (0, 0), 1_000_000, 1_000_000),
    ]
    drawn = network_diagram(stages)
    assert "112\u00a0×\u00a096" in drawn
    assert "pooled" in drawn
    assert drawn.count('class="face front"') == 2


def test_a_section_without_parts_and_a_table_without_rows_are_nothing() -> None:
    assert section("x", "X", "", Html("")) == ""
    assert table(Table((("a", False),), [])) == ""
    drawn = table(Table((("a", True),), [[Cell("1 %", sort=0.01, bar=7.0)]], sortable=True))
    assert 'data-sort="0.01"' in drawn
    assert "width:100.0%" in drawn


@pytest.mark.parametrize(
    ("shape", "kind"), [((8, 8), "image/png"), ((400, 300), "image/jpeg"), ((3, 2000), "image/jpeg")]
)
def test_thumbnails_are_small_and_say_their_size(shape: tuple[int, int], kind: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    made = thumbnail("x.jpg", image, side_px=160)
    assert made.kind == kind
    read = Image.open(io.BytesIO(base64.b64decode(made.data)))
    assert (read.height, read.width) == made.size_px
    assert max(made.size_px) <= 160
    if kind == "image/png":
        assert np.array_equal(np.asarray(read), image), "a tiny picture is kept pixel by pixel"


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(UsageError, match="uint8"):
        thumbnail("x", np.zeros((8, 8, 3), np.float32))
    with pytest.raises(UsageError, match="base64"):
        Picture("x", "image/png", "<script>", (1, 1))
