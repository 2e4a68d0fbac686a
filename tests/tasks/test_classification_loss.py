"""The cross-entropy of classification: equal to torch's where torch has it, and to itself for one-hot rows."""

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from mobilenets.errors import UsageError
from mobilenets.records import Labels
from mobilenets.specs import resolve
from mobilenets.tasks import task

TASK = task("classification")


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(12, 5, generator=generator)
    targets = torch.randint(0, 5, (12,), generator=generator)
    return outputs, targets, torch.tensor([1.0, 2.0, 0.5, 4.0, 1.0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_torch_without_weights(batch: tuple[torch.Tensor, ...], smoothing: float) -> None:
    outputs, targets, _ = batch
    ours = TASK.loss(outputs, targets, label_smoothing=smoothing)
    assert torch.equal(ours, cross_entropy(outputs, targets, label_smoothing=smoothing))
    soft = torch.softmax(torch.randn(12, 5, generator=torch.Generator().manual_seed(1)), 1)
    ours = TASK.loss(outputs, soft, label_smoothing=smoothing)
    torch.testing.assert_close(ours, cross_entropy(outputs, soft, label_smoothing=smoothing))


def test_equals_torch_with_weights(batch: tuple[torch.Tensor, ...]) -> None:
    outputs, targets, weights = batch
    torch.testing.assert_close(
        TASK.loss(outputs, targets, class_weights=weights), cross_entropy(outputs, targets, weight=weights)
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_index_and_its_one_hot_row_lose_the_same(batch: tuple[torch.Tensor, ...], smoothing: float) -> None:
    outputs, targets, weights = batch
    rows = one_hot(targets, 5).float()
    for class_weights in (None, weights):
        hard = TASK.loss(outputs, targets, label_smoothing=smoothing, class_weights=class_weights)
        soft = TASK.loss(outputs, rows, label_smoothing=smoothing, class_weights=class_weights)
        torch.testing.assert_close(hard, soft)


def test_weights_and_smoothing_worked_by_hand() -> None:
    outputs = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    weights = torch.tensor([3.0, 1.0])
    first = -(0.95 * torch.tensor(0.5).log() + 0.05 * torch.tensor(0.5).log())
    second = -(0.05 * torch.tensor(0.25).log() + 0.95 * torch.tensor(0.75).log())
    found = TASK.loss(outputs, torch.tensor([0, 1]), label_smoothing=0.1, class_weights=weights)
    torch.testing.assert_close(found, (3 * first + second) / 4)


def test_half_precision_outputs_lose_in_float32(batch: tuple[torch.Tensor, ...]) -> None:
    outputs, targets, weights = batch
    half = outputs.bfloat16().requires_grad_()
    loss = TASK.loss(half, targets, label_smoothing=0.1, class_weights=weights)
    loss.backward()
    assert loss.dtype == torch.float32
    assert half.grad is not None
    assert half.grad.isfinite().all()


def test_the_head_answers_the_labels() -> None:
    spec = resolve("mobilenetv3_small", alpha=0.5, resolution_px=(32, 32), stem_stride=1)
    network = TASK.build(spec, Labels(("a", "b", "c"))).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    with pytest.raises(UsageError, match="at least one label"):
        TASK.build(spec, Labels(()))
