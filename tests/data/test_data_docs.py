"""The code in docs/data.md runs, in the order of the page, and its numbers are those of the code."""

import re
from pathlib import Path

from mobilenets.data.duplicates import MAX_BITS, MIN_CORRELATION, MIN_SIDE_PX
from mobilenets.data.formats import SUFFIXES
from mobilenets.data.health import IMBALANCE, TINY_PX
from mobilenets.data.image import MAX_PIXELS

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_examples_run_one_after_the_other() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/data.md", "exec"), names)


def test_the_numbers_are_those_of_the_code() -> None:
    words = " ".join(PAGE.split())
    assert f"above {MAX_PIXELS // 10**6} million pixels" in words
    assert f"at most {MAX_BITS} bits apart" in words
    assert f"correlate to {MIN_CORRELATION} or more" in words
    assert f"differ {IMBALANCE:.0f}-fold" in words
    assert f"under {TINY_PX} px on a side" in words
    assert f"Pictures under {MIN_SIDE_PX} px" in words
    assert {".heic", ".svg"} <= SUFFIXES
