"""What every row of the tasks table keeps to: `check_task(row, case)`, for rows of ours and of others.

A row is checked against a case: a tiny network, eight pictures to overfit, and figures worked out by hand. Each
check_* function is one promise; a test can call them one by one, or all of them through `check_task`.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mobilenets.codec import from_json, to_json
from mobilenets.records import Calibration, Labels
from mobilenets.specs import Spec
from mobilenets.tasks import Result, TaskRow

STEPS = 80
PICTURES_PX = ((1, 1), (24, 40), (3, 700))


@dataclass(frozen=True, slots=True)
class TaskCase:
    """What one task is checked with.

    spec, labels, images, targets: a tiny network and 8 images float32 (8, C, h, w) with their truth, all different.
    truth_of: the target that a result states, to be compared with the one that was encoded.
    hand_outputs, hand_targets, hand_metric: outputs and truth of which the primary metric was worked out by hand.
    others, shared: another truth for the same images, and the share of images where both truths are the same.
    """

    spec: Spec
    labels: Labels
    images: np.ndarray
    targets: Any
    truth_of: Callable[[Result, Labels], object]
    hand_outputs: Any
    hand_targets: Any
    hand_metric: float
    others: Any
    shared: float


def check_task(row: TaskRow, case: TaskCase) -> None:
    """All promises of a task. Raises AssertionError with the first that is broken."""
    check_names(row)
    check_decoding_inverts_encoding(row, case)
    check_metric_equals_hand_worked(row, case)
    check_agreement(row, case)
    check_json(row, case)
    check_pictures(row, case)
    check_decoding_needs_no_torch(row)
    check_overfits_eight_images(row, case)


def check_names(row: TaskRow) -> None:
    """Row, task and decoding say the same name and metric, and name each output once."""
    task, decoding = row.load(), row.load_decoding()
    assert task.name == decoding.name == row.name, f"{row.name}: task {task.name!r}, decoding {decoding.name!r}"
    assert task.metric == decoding.metric, f"{row.name}: metrics {task.metric!r} and {decoding.metric!r}"
    assert decoding.output_names, f"{row.name}: no output is named"
    assert len(set(decoding.output_names)) == len(decoding.output_names), f"{row.name}: an output is named twice"


def check_decoding_inverts_encoding(row: TaskRow, case: TaskCase) -> None:
    """What a network that knows the truth would answer reads as the truth, and scores 1."""
    decoding = row.load_decoding()
    outputs = decoding.encode(case.targets, labels=case.labels)
    results = decoding.decode(outputs, labels=case.labels, calibration=Calibration())
    assert len(results) == len(case.images), f"{row.name}: {len(results)} results for {len(case.images)} images"
    for i, (result, target) in enumerate(zip(results, case.targets, strict=True)):
        stated = case.truth_of(result, case.labels)
        assert np.array_equal(stated, target), f"{row.name}: image {i} is {target!r}, decoded {stated!r}"
    score = decoding.metric_of(_evaluated(row, case, outputs, case.targets))
    assert score == 1.0, f"{row.name}: the truth scores {score}"


def check_metric_equals_hand_worked(row: TaskRow, case: TaskCase) -> None:
    decoding = row.load_decoding()
    score = decoding.metric_of(_evaluated(row, case, case.hand_outputs, case.hand_targets))
    assert abs(score - case.hand_metric) < 1e-9, (
        f"{row.name}: {score} where the hand-worked case has {case.hand_metric}"
    )


def check_agreement(row: TaskRow, case: TaskCase) -> None:
    """1 with itself, the known share with another truth, the same in both directions; 1 where all may be a tie."""
    decoding = row.load_decoding()
    one = decoding.encode(case.targets, labels=case.labels)
    two = decoding.encode(case.others, labels=case.labels)
    assert decoding.agreement(one, one) == 1.0, f"{row.name}: outputs do not agree with themselves"
    found = decoding.agreement(one, two)
    assert abs(found - case.shared) < 1e-9, f"{row.name}: agreement {found}, should be {case.shared}"
    assert decoding.agreement(two, one) == found, f"{row.name}: agreement depends on the order"
    assert decoding.agreement(one, two, tie=2.0) == 1.0, f"{row.name}: a tie is no agreement"


def check_json(row: TaskRow, case: TaskCase) -> None:
    """Results print as JSON with their file; calibration and evaluation read themselves back; results are values."""
    decoding = row.load_decoding()
    calibration = decoding.calibrate(case.hand_outputs, case.hand_targets, split="val")
    assert from_json(Calibration, to_json(calibration)) == calibration, f"{row.name}: calibration is not its JSON"
    evaluation = _evaluated(row, case, case.hand_outputs, case.hand_targets)
    assert from_json(type(evaluation), to_json(evaluation)) == evaluation, f"{row.name}: evaluation is not its JSON"
    results = decoding.decode(case.hand_outputs, labels=case.labels, calibration=calibration)
    again = decoding.decode(case.hand_outputs, labels=case.labels, calibration=calibration)
    assert results == again, f"{row.name}: decoding twice gives two answers"
    for result in results:
        printed = result.as_dict('a "picture".jpg')
        assert json.loads(json.dumps(printed, allow_nan=False)) == printed, f"{row.name}: {printed} is no plain JSON"
        assert printed["file"] == 'a "picture".jpg', f"{row.name}: the answer does not name its file"


def check_pictures(row: TaskRow, case: TaskCase) -> None:
    """An answer can be drawn on a picture of any size, and the picture handed in stays as it was."""
    decoding = row.load_decoding()
    outputs = decoding.encode(case.targets, labels=case.labels)
    result = decoding.decode(outputs, labels=case.labels, calibration=Calibration())[0]
    for h, w in PICTURES_PX:
        image = np.full((h, w, 3), 128, np.uint8)
        drawn = result.draw(image)
        assert drawn.dtype == np.uint8, f"{row.name}: drawn as {drawn.dtype}"
        assert drawn.shape[2:] == (3,), f"{row.name}: drawn as {drawn.shape}"
        assert min(drawn.shape[0] - h, drawn.shape[1] - w) >= 0, f"{row.name}: {(h, w)} px shrank to {drawn.shape}"
        assert (image == 128).all(), f"{row.name}: draw writes into the picture it was given"


def check_decoding_needs_no_torch(row: TaskRow) -> None:
    """Loading the module of the decoding in a new process brings in numpy and no torch."""
    module = type(row.load_decoding()).__module__
    program = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    paths = f"import sys; sys.path[:] = {sys.path!r}; "
    done = subprocess.run([sys.executable, "-c", paths + program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{row.name}: {module} imports torch {done.stderr[-500:]}"


def check_overfits_eight_images(row: TaskRow, case: TaskCase) -> None:
    """Network, head and loss can learn: eight images by heart, judged in eval mode by the task's own metric."""
    import torch

    torch.manual_seed(0)
    task, decoding = row.load(), row.load_decoding()
    network = task.build(case.spec, case.labels)
    images = torch.from_numpy(case.images)
    targets = torch.as_tensor(case.targets) if isinstance(case.targets, np.ndarray) else case.targets
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.0)
    losses = []
    for _ in range(STEPS):
        network.train()
        loss = task.loss(network(images), targets)
        assert loss.shape == (), f"{row.name}: the loss is no scalar but {tuple(loss.shape)}"
        assert loss.dtype == torch.float32, f"{row.name}: the loss is {loss.dtype}"
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0], f"{row.name}: the loss went from {losses[0]:.3f} to {losses[-1]:.3f}"
    network.eval()
    with torch.inference_mode():
        outputs = network(images)
    arrays = outputs.numpy() if isinstance(outputs, torch.Tensor) else tuple(x.numpy() for x in outputs)
    score = decoding.metric_of(_evaluated(row, case, arrays, case.targets))
    assert score == 1.0, f"{row.name}: eight images are not learnt by heart; {task.metric} {score}"


def _evaluated(row: TaskRow, case: TaskCase, outputs: Any, targets: Any) -> Any:
    files = [f"{i}.png" for i in range(len(targets))]
    return row.load_decoding().evaluate(outputs, targets, labels=case.labels, files=files)
