"""The three services behind one protocol, played by stand-ins: none of them is needed to run these tests."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mobilenets.errors import MissingRuntime
from mobilenets.records import EpochRow
from mobilenets.train import open_logger

SERVICES = ("tensorboard", "wandb", "mlflow")


class Heard(list[tuple[str, tuple[Any, ...], dict[str, Any]]]):
    """Remembers every call made to it, by name."""

    def __getattr__(self, name: str) -> Callable[..., "Heard"]:
        def call(*args: Any, **kwargs: Any) -> Heard:
            self.append((name, args, kwargs))
            return self

        return call


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """Stand-ins of all three services, which tell what they were told."""
    calls = Heard()
    board, wandb, mlflow = ModuleType("torch.utils.tensorboard"), ModuleType("wandb"), ModuleType("mlflow")
    board.SummaryWriter = calls.open  # type: ignore[attr-defined]
    wandb.init = calls.init  # type: ignore[attr-defined]
    for name in ("start_run", "log_metrics", "end_run"):
        setattr(mlflow, name, getattr(calls, name))
    for module in (board, wandb, mlflow):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_hears_steps_and_epochs(
    service: Any, heard: Heard, run_tiny: Callable[..., Any], tmp_path: Path
) -> None:
    logger = open_logger(service, tmp_path / "run")
    run_tiny(epochs=4, loggers=[logger])  # 12 steps: one tenth step, four evaluations
    told = repr(heard)
    for name in ("train/loss", "train/lr", "epoch/val_metric", "epoch/train_loss"):
        assert name in told
    assert heard[-1][0] in ("close", "finish", "end_run")
    steps = {call[2].get("step", call[1][-1] if call[1] else None) for call in heard[1:-1]}
    assert {3, 6, 9, 10, 12} == steps


@pytest.mark.parametrize("service", SERVICES)
def test_a_missing_service_names_its_install_line(
    service: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("torch.utils.tensorboard", "wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingRuntime) as caught:
        open_logger(service, tmp_path)
    assert caught.value.hint == f"pip install {service}"


def test_a_logger_is_closed_when_the_run_breaks(run_tiny: Callable[..., Any]) -> None:
    class Breaks:
        closed = 0

        def on_step(self, event: object) -> None:
            raise ValueError("the service is down")

        def on_epoch(self, row: EpochRow) -> None: ...

        def close(self) -> None:
            self.closed += 1

    logger = Breaks()
    with pytest.raises(ValueError, match="the service is down"):
        run_tiny(loggers=[logger])
    assert logger.closed == 1
