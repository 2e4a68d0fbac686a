"""load(path).predict(anything): the answers of the trained network, in order, from one exported file, without torch."""

import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deploy.conftest import LABELS, Trained

import mobilenets
from mobilenets.bundle import ModelFile, add_files, copy_model, synthetic_images
from mobilenets.data import preprocess, read_image
from mobilenets.deploy import Model, Prediction, facts_of, find_target, load
from mobilenets.deploy.pictures import Tensor, batches
from mobilenets.deploy.targets import has_module
from mobilenets.deploy.tracing import Form, Source
from mobilenets.deploy.trained import runner
from mobilenets.errors import BadModelFile, MissingRuntime, UnknownName, UsageError, VerifyFailed
from mobilenets.records import Calibration


@pytest.fixture(scope="module")
def model(trained: Trained) -> Model:
    return load(trained.model.path, threads=1)


def labels(predictions: tuple[Prediction, ...]) -> list[str | None]:
    return [None if p.result is None else p.result.label for p in predictions]


def expected(trained: Trained, files: list[Path]) -> list[str]:
    batch = np.stack([preprocess(read_image(file), trained.model.record.preprocess) for file in files])
    return [LABELS.ids[index] for index in runner(trained.network)(batch)[0].argmax(1)]


def test_a_file_is_named_as_the_trained_network_does(model: Model, trained: Trained) -> None:
    files = [sample.file for sample in trained.dataset.val]
    wanted = expected(trained, files)
    assert len(set(wanted)) > 1
    assert [labels(model.predict(file))[0] for file in files] == wanted
    assert labels(model.predict(files)) == wanted
    assert labels(model.predict(files, batch_size=5, workers=3)) == wanted


def test_probabilities_are_calibrated(model: Model, trained: Trained) -> None:
    file = trained.dataset.val[0].file
    tensor = preprocess(read_image(file), model.preprocess)[None]
    (logits,) = runner(trained.network)(tensor)
    shares = np.exp(logits[0] / 1.5) / np.exp(logits[0] / 1.5).sum()
    (answer,) = model.predict(file)
    assert dict(answer.result.top) == pytest.approx(dict(zip(LABELS.ids, shares.tolist(), strict=True)), rel=1e-4)
    assert len(model.predict(file, top=2)[0].result.top) == 2
    assert json.loads(json.dumps(answer.as_dict()))["file"] == str(file)


def test_every_kind_of_source(model: Model, trained: Trained) -> None:
    file = trained.dataset.val[0].file
    pixels = read_image(file)
    (wanted,) = labels(model.predict(file))
    assert labels(model.predict(str(file))) == [wanted]
    assert labels(model.predict(file.read_bytes())) == [wanted]
    assert labels(model.predict(pixels)) == [wanted]
    assert labels(model.predict(np.stack([pixels, pixels]))) == [wanted] * 2
    with file.open("rb") as opened:
        (answer,) = model.predict(opened)
    assert (answer.file, answer.result.label) == (str(file), wanted)
    assert labels(model.predict([file, pixels, [file.read_bytes()]])) == [wanted] * 3
    assert model.predict([]) == ()
    for wrong in (3, [3], None):
        with pytest.raises(UsageError, match="a picture is a path"):
            model.predict(wrong)


def test_a_folder_at_any_depth_sorted(model: Model, trained: Trained, tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/10.jpg", "a.PNG", ".hidden.jpg", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(trained.dataset.val[0].file.read_bytes())
    names = [Path(p.file).relative_to(tmp_path).as_posix() for p in model.predict(tmp_path)]
    assert names == ["a.PNG", "b/10.jpg", "b/2.jpg"]


def test_a_bad_picture_stops_nobody(model: Model, trained: Trained, tmp_path: Path) -> None:
    good = [sample.file for sample in trained.dataset.val[:3]]
    bad = [tmp_path / "empty.jpg", tmp_path / "text.png", tmp_path / "missing.jpg"]
    bad[0].write_bytes(b"")
    bad[1].write_text("hello")
    mixed = [bad[0], good[0], bad[1], good[1], good[2], bad[2]]
    answers = model.predict(mixed, batch_size=2)
    assert [p.file for p in answers] == [str(file) for file in mixed]
    assert labels(answers) == [None, *expected(trained, good[:1]), None, *expected(trained, good[1:]), None]
    assert answers[0].error.startswith("empty file")
    assert answers[2].error.startswith("not an image")
    assert answers[5].as_dict() == {"file": str(bad[2]), "error": answers[5].error}
    assert answers[5].error.startswith("missing")
    assert len(model.predict([bad[0]] * 100, batch_size=2)) == 100


def test_none_of_these(model: Model, trained: Trained) -> None:
    file = trained.dataset.val[0].file
    strict = replace(model, calibration=Calibration(energy_threshold=-1e9))
    (answer,) = strict.predict(file)
    assert answer.result.label is None
    assert answer.result.top
    assert answer.as_dict()["label"] is None


def test_a_stream_is_lazy_and_bounded(model: Model) -> None:
    image = np.zeros((600, 600, 3), np.uint8)
    asked = 0

    def endless() -> object:
        nonlocal asked
        while True:
            asked += 1
            yield image.copy()

    stream = model.predict_stream(endless(), batch_size=4, workers=2)
    first = next(stream)
    assert first.result is not None
    assert asked == 4 * 4  # until it is known to be a long one
    tracemalloc.start()
    for _ in range(200):
        next(stream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    stream.close()
    assert peak < 40 * image.nbytes, "200 pictures passed, a few were held"


def test_wrong_numbers_are_refused(model: Model) -> None:
    for wrong in ({"top": 0}, {"batch_size": 0}, {"workers": 0}):
        with pytest.raises(UsageError, match="at least 1"):
            model.predict(np.zeros((8, 8, 3), np.uint8), **wrong)


def test_a_zip_and_a_bare_file_answer_alike(
    model: Model, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))
    files = [sample.file for sample in trained.dataset.val]
    copy_model(trained.model, tmp_path / "model.zip")
    bare = tmp_path / "any name.onnx"
    bare.write_bytes(trained.model.read("onnx/model.onnx"))
    wanted = [p.as_dict() for p in model.predict(files)]
    for path in (tmp_path / "model.zip", bare):
        other = load(path, threads=1)
        assert [p.as_dict() for p in other.predict(files)] == wanted
        assert (other.name, other.labels) == (model.name, model.labels)


def test_what_was_not_proved_is_not_run(trained: Trained, copied: ModelFile) -> None:
    (export,) = copied.record.exports
    unproved = replace(copied.record, exports=(replace(export, verification=None),))
    again = add_files(copied, {}, record=unproved)
    with pytest.raises(VerifyFailed, match="never proved"):
        load(again.path)
    failed = replace(export, verification=replace(export.verification, passed=False))
    again = add_files(again, {}, record=replace(copied.record, exports=(failed,)))
    with pytest.raises(VerifyFailed):
        load(again.path)
    without = add_files(again, {}, record=replace(copied.record, exports=()), remove=["onnx/model.onnx"])
    with pytest.raises(UsageError, match="no exported file; it holds none"):
        load(without.path)


def test_bad_files_are_one_line(trained: Trained, copied: ModelFile, tmp_path: Path) -> None:
    import onnx

    proto = onnx.load_from_string(copied.read("onnx/model.onnx"))
    proto.ClearField("metadata_props")
    (tmp_path / "foreign.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(UsageError, match="says nothing about labels"):
        load(tmp_path / "foreign.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    for path, error in (
        (tmp_path / "bad.onnx", BadModelFile),
        (tmp_path / "missing", BadModelFile),
        (trained.dataset.root, BadModelFile),
        (trained.dataset.val[0].file, BadModelFile),
    ):
        with pytest.raises(error):
            load(path)
    with pytest.raises(UnknownName):
        load(trained.model.path, target="onyx")


def test_a_missing_runtime_names_its_install_line(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingRuntime) as caught:
        load(trained.model.path)
    assert "onnxruntime" in caught.value.message
    assert caught.value.hint.startswith("pip install")


def test_prediction_verify_and_bench_need_no_torch(trained: Trained, tmp_path: Path) -> None:
    """On a small board torch, onnx and scikit-learn are not there: importing them fails, here too."""
    code = """
import sys
for name in ("torch", "torchvision", "onnx", "onnxscript", "sklearn", "matplotlib", "scipy"):
    sys.modules[name] = None
from mobilenets.deploy import bench_models, diagnose, load, verify_model
path, picture = sys.argv[1:]
(answer,) = load(path, threads=1).predict(picture)
print(answer.result.label)
print(verify_model(path, threads=1).passed)
print(bench_models([path], rounds=2, warmup=1).rows[0].rounds)
print(diagnose().targets["onnx"].runs, diagnose().targets["onnx"].exports)
"""
    file = trained.dataset.val[0].file
    done = subprocess.run(
        [sys.executable, "-c", code, str(trained.model.path), str(file)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split() == [*expected(trained, [file]), "True", "2", "True", "False"]


def test_data_without_torch_says_what_is_missing(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    from mobilenets.deploy import bench_models, verify_model

    monkeypatch.setattr("mobilenets.deploy.trained.has_module", lambda name: False)
    for work in (lambda: verify_model(trained.model, data=trained.dataset), lambda: bench_models(["mobilenetv2"])):
        with pytest.raises(MissingRuntime) as caught:
            work()
        assert caught.value.hint == "pip install 'mobilenets[train]'"


def test_odd_files_all_get_an_answer(model: Model, shared: Path) -> None:
    folder = shared / "data" / "robustness"
    answers = {Path(p.file).relative_to(folder).as_posix(): p for p in model.predict(folder)}
    assert len(answers) > 100
    assert sum(p.result is not None for p in answers.values()) > 50
    for name, kind in (
        ("broken/zero_bytes.jpg", "empty file"),
        ("broken/text.jpg", "not an image"),
        ("truncated/jpeg_60_percent.jpg", "truncated"),
        ("bombs/jpeg_65500x65500.jpg", "too large"),
        ("modes/vector.svg", "unsupported"),
    ):
        assert answers[name].error.startswith(kind)
    pictures = synthetic_images(2, size_px=(32, 32))
    assert all(p.error is None for p in model.predict([data for _, data in pictures]))


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_a_file_that_prepares_pictures_itself(trained: Trained, model: Model, tmp_path: Path, name: str) -> None:
    """ONNX takes pictures of any size, one at a time; LiteRT pixels of its own size. Same answers as without."""
    target = find_target(name)
    if not all(has_module(module) for module in target.export_modules):
        pytest.skip(f"what exports to {name} is not installed")
    record, form = trained.model.record, Form(with_preprocess=True)
    facts = facts_of(record, precision="float32", weights_sha256=trained.model.weights_sha256)
    source = Source(trained.network, trained.spec.name, ("logits",), 3, record.preprocess.size_px, form)
    path = tmp_path / f"whole{target.suffix}"
    target.export(source, path, facts=facts)
    whole = mobilenets.load(path)
    assert whole.inside == target.with_preprocess
    assert whole.preprocess.dtype == "uint8"
    files = [sample.file for sample in trained.dataset.val]
    sizes = [np.zeros((30, 50, 3), np.uint8), np.zeros((50, 30, 3), np.uint8)]
    for pictures in (files, sizes, [*files, *sizes]):
        assert labels(whole.predict(pictures)) == labels(model.predict(pictures, fast=False))
    assert labels(whole.predict(files * 4, workers=2)) == labels(model.predict(files)) * 4


def test_batches_never_stack_pictures_of_different_sizes() -> None:
    sizes = [(4, 4), (4, 4), (5, 4), (4, 4), (4, 4), (4, 4)]
    items = [Tensor(str(i), np.full((*size, 3), i, np.uint8)) for i, size in enumerate(sizes)]
    found = list(batches(items, 2))
    assert [item.file for part, _ in found for item in part] == list("012345")
    assert [batch.shape for _, batch in found] == [(2, 4, 4, 3), (1, 5, 4, 3), (2, 4, 4, 3), (1, 4, 4, 3)]


def test_a_long_stream_answers_as_a_short_one(model: Model, trained: Trained) -> None:
    files = [sample.file for sample in trained.dataset.val]
    wanted = [labels(model.predict(file))[0] for file in files]
    for workers, batch_size in ((1, 3), (3, 8), (2, 1)):
        assert labels(model.predict(files * 4, workers=workers, batch_size=batch_size)) == wanted * 4


def test_a_precision_that_is_not_there_is_named(trained: Trained) -> None:
    assert load(trained.model.path, precision="float32").precision == "float32"
    with pytest.raises(UsageError, match="no exported file in float16; it holds onnx in float32"):
        load(trained.model.path, precision="float16")


def test_a_bare_file_needs_one_runtime(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(trained.model.read("onnx/model.onnx"))
    code = """
import sys
for name in (
    "torch", "torchvision", "onnx", "onnxscript", "sklearn", "ray", "pyarrow", "simplejpeg", "click", "rich",
    "safetensors", "ai_edge_litert", "openvino", "executorch",
):
    sys.modules[name] = None
import mobilenets
print(*(p.result.label for p in mobilenets.load(sys.argv[1]).predict(sys.argv[2:])))
"""
    files = [sample.file for sample in trained.dataset.val] * 2
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.onnx"), *map(str, files)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split() == expected(trained, files)
