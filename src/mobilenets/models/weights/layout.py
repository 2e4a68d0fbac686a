"""The names and shapes of a network's arrays, from its spec alone: what every reader must fill. No torch.

They are those of `models.state_arrays(models.build(spec))`, in the order of definition.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ...specs.activation import slopes_learned
from ...specs.spec import Spec
from ...specs.steps import AttentionStep, ConvStep, ScaleStep, SqueezeStep, Step

Role = Literal["weight", "bias", "gamma", "beta", "mean", "variance", "slopes", "scale"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One array: its name, its shape, and what it is. module: the name without its last part."""

    name: str
    shape: tuple[int, ...]
    role: Role

    @property
    def module(self) -> str:
        return self.name.rpartition(".")[0]


def slots(spec: Spec) -> tuple[Slot, ...]:
    """Every array of the network, backbone first, then the hidden layer, then the classifier."""
    found: list[Slot] = []
    for block, _, step in spec.steps():
        found += _of_step(f"backbone.{block}.{step.name}", step)
    for i, step in enumerate(spec.head.steps(spec.channels)):
        found += _conv(f"hidden.{i}", step)
    if spec.classes:
        found.append(Slot("classifier.weight", (spec.classes, spec.embedding), "weight"))
        found.append(Slot("classifier.bias", (spec.classes,), "bias"))
    return tuple(found)


def _of_step(name: str, step: Step) -> Iterator[Slot]:
    match step:
        case ConvStep():
            yield from _conv(name, step)
        case SqueezeStep():
            c, r = step.channels, step.c_squeeze
            yield Slot(f"{name}.reduce.weight", (r, c, 1, 1), "weight")
            yield Slot(f"{name}.reduce.bias", (r,), "bias")
            yield from _slopes(f"{name}.act", slopes_learned(step.act, r))
            yield Slot(f"{name}.expand.weight", (c, r, 1, 1), "weight")
            yield Slot(f"{name}.expand.bias", (c,), "bias")
            yield from _slopes(f"{name}.gate", slopes_learned(step.gate, c))
        case AttentionStep():
            c, d = step.channels, step.key_dim
            yield from _norm(f"{name}.norm", c)
            yield Slot(f"{name}.query.weight", (step.heads * d, c, 1, 1), "weight")
            for part in ("key", "value"):
                if step.kv_stride > 1:
                    yield from _conv(f"{name}.{part}.reduce", step.reduction("reduce"))
                yield Slot(f"{name}.{part}.project.weight", (d, c, 1, 1), "weight")
            yield Slot(f"{name}.project.weight", (c, step.heads * d, 1, 1), "weight")
        case ScaleStep():
            yield Slot(f"{name}.gamma", (step.channels, 1, 1), "scale")
        case _:
            return


def _conv(name: str, step: ConvStep) -> Iterator[Slot]:
    yield Slot(f"{name}.conv.weight", (step.c_out, step.c_in // step.groups, *step.kernel), "weight")
    if step.bias:
        yield Slot(f"{name}.conv.bias", (step.c_out,), "bias")
    if step.norm:
        yield from _norm(f"{name}.norm", step.c_out)
    yield from _slopes(f"{name}.act", slopes_learned(step.act, step.c_out))


def _norm(name: str, channels: int) -> Iterator[Slot]:
    yield Slot(f"{name}.weight", (channels,), "gamma")
    yield Slot(f"{name}.bias", (channels,), "beta")
    yield Slot(f"{name}.running_mean", (channels,), "mean")
    yield Slot(f"{name}.running_var", (channels,), "variance")


def _slopes(name: str, count: int) -> Iterator[Slot]:
    if count:
        yield Slot(f"{name}.weight", (count,), "slopes")
