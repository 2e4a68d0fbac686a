"""The docs say what is so: generated parts are fresh, links lead somewhere, public names are documented."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from house.reader import PAGES, ROOT

import mobilenets


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_parts_are_fresh() -> None:
    stale = [path.name for path, text in generator().pages().items() if path.read_text() != text]
    assert stale == [], "run: make docs"


def test_a_stale_part_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    made = generator()
    monkeypatch.setattr(made, "networks_table", lambda: "another table")
    assert made.pages()[ROOT / "README.md"] != (ROOT / "README.md").read_text()


def test_the_picture_is_small_and_shows_the_network() -> None:
    picture = ROOT / "docs" / "pictures" / "mobilenetv3_large.svg"
    assert picture.stat().st_size < 100_000
    assert "5,483,032 parameters" in picture.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_public_names_are_those_documented() -> None:
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(mobilenets.__all__)
    assert len(mobilenets.__all__) <= 20


@pytest.mark.parametrize("name", mobilenets.__all__)
def test_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert getattr(mobilenets, name).__doc__
    assert name in dir(mobilenets)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        mobilenets.fitt  # noqa: B018
