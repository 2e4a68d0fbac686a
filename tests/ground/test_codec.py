"""The JSON codec gives back what it was given, and says where a text is wrong."""

from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenets.codec import decode, encode, from_json, to_json
from mobilenets.errors import BadData
from mobilenets.records import Calibration, Labels, Machine, Preprocess


@dataclass(frozen=True, slots=True)
class Left:
    side: Literal["left"] = "left"
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Right:
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tree:
    name: str
    rows: tuple[Left | Right, ...]
    note: str | None = None
    lone: Right | None = None


finite = st.floats(allow_nan=False, allow_infinity=False)
rows = st.one_of(
    st.builds(Left, weight=st.floats(allow_nan=False)), st.builds(Right, st.tuples(st.integers(), st.integers()))
)
trees = st.builds(
    Tree, st.text(), st.lists(rows).map(tuple), st.none() | st.text(), st.none() | st.builds(Right, st.just((1, 2)))
)


@given(trees)
def test_round_trip(tree: Tree) -> None:
    assert from_json(Tree, to_json(tree)) == tree


def test_only_ambiguous_fields_are_tagged() -> None:
    tree = encode(Tree("t", (Left(),), lone=Right((1, 2))))
    assert tree["rows"] == [{"type": "Left", "side": "left", "weight": 0.0}]
    assert tree["lone"] == {"size": [1, 2]}


@pytest.mark.parametrize(
    "value",
    [
        Preprocess((160, 224)),
        Labels(("a", "b"), ("A", "B")),
        Calibration(),
        Machine("c", 2, 1.5, "s", "3", ("avx2",), {"numpy": "2"}),
    ],
)
def test_records_round_trip(value: object) -> None:
    assert from_json(type(value), to_json(value)) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ('{"name": "t", "rows": [], "extra": 1}', "unknown key 'extra'"),
        ('{"name": "t"}', "key 'rows' is missing"),
        ('{"name": 3, "rows": []}', "Tree.name: must be str"),
        ('{"name": "t", "rows": [{"type": "Middle"}]}', "Tree.rows[0].type: must be one of Left, Right"),
        ('{"name": "t", "rows": [{"type": "Right", "size": [1]}]}', "Tree.rows[0].size: must have 2 items"),
        ('{"name": "t", "rows": [{"type": "Left", "side": "right"}]}', "must be one of 'left'"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_errors_name_the_place(text: str, said: str) -> None:
    with pytest.raises(BadData) as caught:
        from_json(Tree, text)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_a_bool_is_no_int() -> None:
    with pytest.raises(BadData):
        decode(Right, {"size": [True, 1]})
