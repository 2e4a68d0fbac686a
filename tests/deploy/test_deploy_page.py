"""The examples of docs/deploy.md run, in the order in which they stand there."""

import re
import shutil
from pathlib import Path

import pytest
from deploy.conftest import Trained

from mobilenets.deploy import load, verify_model

PAGE = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text()


@pytest.mark.slow
def test_examples_run(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained.model.path, tmp_path / "model")
    shutil.copytree(trained.dataset.root, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/deploy.md", "exec"), scope)
    assert "noise" in capsys.readouterr().out


def test_every_check_is_on_the_page(trained: Trained) -> None:
    for check in verify_model(trained.model, data=trained.dataset).checks:
        assert f"`{check.name}`" in PAGE
    assert load.__doc__
