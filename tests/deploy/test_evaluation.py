"""A model on labelled files: counted by label, not by position; unreadable files are listed and count nowhere."""

import shutil
from pathlib import Path

import pytest
from deploy.conftest import LABELS, Trained

from mobilenets.deploy import evaluate_model, load
from mobilenets.errors import BadData


def test_figures_are_those_of_the_predictions(trained: Trained) -> None:
    samples = trained.dataset.val
    answers = load(trained.model.path, threads=1).predict([sample.file for sample in samples])
    right = [p.result.label == LABELS.ids[s.target] for p, s in zip(answers, samples, strict=True)]
    evaluation = evaluate_model(trained.model.path, trained.dataset, split="val")
    assert evaluation.images == len(samples)
    assert evaluation.top1 == pytest.approx(sum(right) / len(right))
    assert 0 < sum(right) < len(right)
    assert evaluate_model(trained.model.path, trained.dataset).images == len(trained.dataset.test)


def test_labels_are_matched_by_name_and_bad_files_left_out(trained: Trained, tmp_path: Path) -> None:
    """The same pictures with one label fewer, so that the rest have other positions, and a broken file."""
    shutil.copytree(trained.dataset.root, tmp_path / "data")
    for split in ("train", "val", "test"):
        shutil.rmtree(tmp_path / "data" / split / "cat")
    (tmp_path / "data" / "val" / "dog" / "broken.jpg").write_bytes(b"no picture")
    whole = evaluate_model(trained.model.path, trained.dataset, split="val")
    part = evaluate_model(trained.model.path, tmp_path / "data", split="val")
    assert part.images == 14
    assert {(c.label, c.images, c.correct) for c in part.per_class if c.images} == {
        (c.label, c.images, c.correct) for c in whole.per_class if c.label != "cat"
    }
    assert [entry.file for entry in part.unreadable] == ["val/dog/broken.jpg"]
    (tmp_path / "data" / "val" / "dog").rename(tmp_path / "data" / "val" / "zebra")
    with pytest.raises(BadData, match="zebra"):
        evaluate_model(trained.model.path, tmp_path / "data", split="val")
