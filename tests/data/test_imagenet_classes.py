"""ImageNet's classes: their order, their unique ids, and that two names are not unique."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mobilenets.data import imagenet_labels
from mobilenets.data.imagenet import FILE
from mobilenets.errors import UsageError
from mobilenets.records import Labels


def test_a_thousand_in_the_order_of_their_ids() -> None:
    labels = imagenet_labels()
    assert len(labels) == 1000
    assert list(labels.ids) == sorted(labels.ids), "every framework sorts by WordNet id"
    assert (labels.ids[0], labels.name(0)) == ("n01440764", "tench")
    assert (labels.ids[999], labels.name(999)) == ("n15075141", "toilet tissue")
    assert FILE.stat().st_size < 60_000


def test_names_are_not_unique_so_ids_are_what_counts() -> None:
    labels = imagenet_labels()
    assert {name for name, n in Counter(labels.names).items() if n > 1} == {"crane", "maillot"}
    with pytest.raises(UsageError, match="'crane' occurs twice"):
        Labels(labels.names)


def test_the_background_comes_first() -> None:
    with_background = imagenet_labels(1001)
    assert with_background.ids[0] == "background"
    assert with_background.ids[1:] == imagenet_labels().ids
    assert with_background.name(934 + 1) == imagenet_labels().name(934)


def test_it_is_the_table_beside_the_photos(shared: Path) -> None:
    with (shared / "data" / "imagenet200" / "classes1000.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = imagenet_labels()
    assert [(row["label"], row["name"]) for row in rows] == list(zip(labels.ids, labels.names, strict=True))
    assert [int(row["index"]) for row in rows] == list(range(1000))
    with (shared / "data" / "imagenet200" / "classes.lst").open(encoding="utf-8") as file:
        for line in file:
            _, index, wordnet, name = line.rstrip("\n").split("\t")
            assert (labels.ids[int(index)], labels.name(int(index))) == (wordnet, name)


def test_they_need_no_torch_and_are_read_when_asked_for() -> None:
    code = (
        "import sys, mobilenets.data.imagenet as m\nassert m.imagenet_labels.cache_info().currsize == 0\n"
        "m.imagenet_labels()\nassert not {'torch', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
