"""The code in docs/tasks.md runs, and its example of a task of one's own keeps the contract."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts.cases import eight_images, tiny_spec
from contracts.task import TaskCase, check_task

from mobilenets.records import Labels

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"
LABELS = Labels(("fresh", "organic", "sliced"))
EIGHT = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], np.float32)


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_plain_examples_run() -> None:
    plain = [block for block in blocks() if not block.startswith("# attributes/")]
    assert plain
    for block in plain:
        exec(compile(block, str(PAGE), "exec"), {})


@pytest.fixture
def row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The row of the page, from a package written out as the page says."""
    for block in blocks():
        if named := re.match(r"# (attributes/\w+\.py)\n", block):
            path = tmp_path / named[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(block, encoding="utf-8")
    (tmp_path / "attributes" / "__init__.py").write_text('"""A task."""\n', encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("attributes.row").ROW
    for name in [name for name in sys.modules if name.partition(".")[0] == "attributes"]:
        del sys.modules[name]


def test_a_third_party_row_keeps_the_contract(row: Any) -> None:
    def truth_of(result: Any, labels: Labels) -> np.ndarray:
        return np.array([label in result.present for label in labels.ids], np.float32)

    hand = np.array([[1.0, -1, 2], [1, 1, 1], [-1, -1, -3], [-2, 4, -1]], np.float32)
    truth = np.array([[1, 0, 1], [1, 0, 1], [0, 0, 0], [0, 1, 1]], np.float32)
    others = EIGHT.copy()
    others[:3, 0] = 1 - others[:3, 0]
    case = TaskCase(
        spec=tiny_spec(),
        labels=LABELS,
        images=eight_images(),
        targets=EIGHT,
        truth_of=truth_of,
        hand_outputs=hand,
        hand_targets=truth,
        hand_metric=2 / 4,
        others=others,
        shared=5 / 8,
    )
    check_task(row, case)
