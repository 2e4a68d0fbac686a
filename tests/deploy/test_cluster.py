"""A Ray Data job of two local workers answers as the local run does, row for row."""

from pathlib import Path

import pytest
from deploy.conftest import Trained

from mobilenets.deploy import load
from mobilenets.deploy.cluster import predict_on_ray
from mobilenets.deploy.journal import write_predictions
from mobilenets.errors import MissingRuntime, UsageError


def test_what_can_not_be_done_is_said_before_a_cluster_starts(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilenets.deploy.cluster.has_module", lambda name: name == "ray")
    for source, out, words in (
        ([b"bytes"], "a.csv", "lies in memory"),
        ([], "a.csv", "no pictures"),
        (trained.dataset.root, "a.txt", "answers are written as"),
    ):
        with pytest.raises(UsageError, match=words):
            predict_on_ray(trained.model.path, source, tmp_path / out)
    monkeypatch.setattr("mobilenets.deploy.cluster.has_module", lambda name: False)
    with pytest.raises(MissingRuntime) as caught:
        predict_on_ray(trained.model.path, trained.dataset.root, tmp_path / "a.csv")
    assert caught.value.hint == "pip install 'mobilenets[ray]'"


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")  # Ray's own, in whatever number
def test_two_workers_write_the_rows_of_one_process(trained: Trained, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    files = [sample.file for sample in trained.dataset.val]
    (tmp_path / "photos").mkdir()
    for index in range(300):
        data = b"broken" if index % 50 == 7 else files[index % len(files)].read_bytes()
        (tmp_path / "photos" / f"{index:04}.png").write_bytes(data)
    for suffix in (".csv", ".parquet"):
        here, there = tmp_path / f"here{suffix}", tmp_path / f"there{suffix}"
        one = write_predictions(load(trained.model.path, threads=1), tmp_path / "photos", here, fast=False)
        two = predict_on_ray(trained.model.path, tmp_path / "photos", there, workers=2)
        assert there.read_bytes() == here.read_bytes()
        assert (
            (two.rows, two.errors, two.first_errors)
            == (one.rows, one.errors, one.first_errors)
            == (
                300,
                6,
                one.first_errors,
            )
        )
