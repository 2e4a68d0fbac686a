"""The ways in which deployed files have been wrong, each as a real exported file that claims to be right.

Usable for any network and target: `mutants` writes the files of one model file and tells what each should be blamed on.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import torch
from torch import nn

from mobilenets.bundle import ModelFile
from mobilenets.deploy import Embedded, facts_of
from mobilenets.deploy.targets import Target
from mobilenets.deploy.tracing import PLAIN, Form, Source
from mobilenets.models import load_exact, state_arrays
from mobilenets.records import Culprit, Labels, Preprocess
from mobilenets.specs import Spec
from mobilenets.tasks import task


@dataclass(frozen=True)
class Mutant:
    """A wrong file, and what verify has to blame."""

    name: str
    culprit: Culprit
    path: Path


def stem(network: nn.Module) -> nn.Conv2d:
    return next(module for module in network.modules() if isinstance(module, nn.Conv2d))


def classifier(network: nn.Module) -> nn.Linear:
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]


@torch.no_grad()
def bgr_for_rgb(network: nn.Module, spec: Spec) -> nn.Module:
    stem(network).weight.copy_(stem(network).weight.flip(1))
    return network


@torch.no_grad()
def divided_by_128(network: nn.Module, spec: Spec) -> nn.Module:
    """(pixel - 127.5) / 128 in the place of (pixel - 127.5) / 127.5."""
    stem(network).weight.mul_(127.5 / 128)
    return network


@torch.no_grad()
def labels_moved(network: nn.Module, spec: Spec) -> nn.Module:
    last = classifier(network)
    last.weight.copy_(last.weight.roll(1, 0))
    last.bias.copy_(last.bias.roll(1, 0))
    return network


@torch.no_grad()
def classes_permuted(network: nn.Module, spec: Spec) -> nn.Module:
    last = classifier(network)
    order = torch.arange(len(last.bias))
    order[[0, 1]] = order[[1, 0]]
    last.weight.copy_(last.weight[order])
    last.bias.copy_(last.bias[order])
    return network


def other_epsilon(network: nn.Module, spec: Spec) -> nn.Module:
    """1e-5 for 1e-3, or the other way round."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3 if spec.norm.eps < 1e-4 else 1e-5
    return network


def other_padding(network: nn.Module, spec: Spec) -> nn.Module:
    """Symmetric for SAME, or the other way round."""
    other = replace(spec, padding="symmetric" if spec.padding == "same" else "same")
    made = task("classification").build(other, _labels(spec))
    load_exact(made, state_arrays(network))
    return made.eval()


@torch.no_grad()
def older_weights(network: nn.Module, spec: Spec) -> nn.Module:
    """As an epoch before: every weight a little off, each in its own direction."""
    generator = torch.Generator().manual_seed(5)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.add_(0.03 * noise * parameter.abs().mean())
    return network


@torch.no_grad()
def half_weights(network: nn.Module, spec: Spec) -> nn.Module:
    """Rounded to float16 after folding, stored as float32."""
    folded = Source(network, "half", ("logits",), spec.in_channels, spec.resolution_px).folded()
    for parameter in folded.parameters():
        parameter.copy_(parameter.half().float())
    return folded


IN_THE_NETWORK: dict[str, tuple[Culprit, Callable[[nn.Module, Spec], nn.Module]]] = {
    "BGR for RGB": ("colour_order", bgr_for_rgb),
    "/128 for /127.5": ("mean_std", divided_by_128),
    "labels shifted by one": ("label_order", labels_moved),
    "a permuted class map": ("label_order", classes_permuted),
    "epsilon 1e-5 for 1e-3": ("norm_epsilon", other_epsilon),
    "symmetric for SAME padding": ("padding", other_padding),
    "stale weights": ("stale_weights", older_weights),
    "float16 weights under a float32 name": ("precision", half_weights),
}


def in_the_preparation(record: Preprocess) -> dict[str, Preprocess]:
    other = "bilinear" if record.interpolation == "bicubic" else "bicubic"
    return {
        f"{other} for {record.interpolation}": replace(record, interpolation=other),
        "antialias off": replace(record, antialias=False),
    }


def _labels(spec: Spec) -> Labels:
    return Labels(tuple(f"class {index}" for index in range(spec.classes)))


def mutants(model: ModelFile, network: nn.Module, target: Target, folder: Path) -> Iterator[Mutant]:
    """Every mutant of a model file as a file of `target`, whose facts are the right ones.

    Those of the preparation of pictures are ONNX files with everything inside: one that says itself what it does, and
    one that says what the model wants.
    """
    record = model.record
    facts = facts_of(record, precision=target.precisions[0], weights_sha256=model.weights_sha256)

    def source(changed: nn.Module, form: Form = PLAIN) -> Source:
        p = record.preprocess
        return Source(changed, record.spec.name, facts.output_names, p.channels, p.size_px, form)

    for number, (name, (culprit, mutate)) in enumerate(IN_THE_NETWORK.items()):
        path = folder / f"{number}{target.suffix}"
        target.export(source(mutate(copy.deepcopy(network), record.spec)), path, facts=facts)
        yield Mutant(name, culprit, path)
    if target.name != "onnx":
        return
    form = Form(with_preprocess=True)
    for name, preprocess in in_the_preparation(record.preprocess).items():
        path = folder / f"{name.replace(' ', '_')}{target.suffix}"
        target.export(source(network, form), path, facts=replace(facts, preprocess=preprocess))
        yield Mutant(name, "resize", path)
        told = path.with_stem(f"{path.stem}_untold")
        say(path, told, target.fed(facts, with_preprocess=True))
        yield Mutant(f"{name}, untold", "resize", told)


def say(path: Path, copy_at: Path, facts: Embedded) -> None:
    """The same ONNX file with other facts in it."""
    proto = onnx.load(path)
    said = facts.as_strings()
    for entry in proto.metadata_props:
        entry.value = said.get(entry.key, entry.value)
    onnx.save(proto, copy_at)
