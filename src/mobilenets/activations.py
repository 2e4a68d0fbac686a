"""An activation that a file of weights does not store, decided by labelled pictures. Floor 6, used by importing.py."""

from dataclasses import dataclass, replace
from math import comb
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .models.weights.read import Read
from .proving import PROOF_IMAGES, activation_variants, as_tensors, built
from .specs import Spec

if TYPE_CHECKING:
    from .data import Dataset


@dataclass(frozen=True, slots=True)
class TriedActivation:
    """One activation that the file may have been trained with, and what it scores on the labelled pictures."""

    activation: str
    top1: float
    correct: int
    images: int
    verdict: str


def try_activations(read: Read, dataset: "Dataset") -> tuple[tuple[TriedActivation, ...], Read]:
    """Every activation that the file may have been trained with, by its top-1; the best one is taken.

    Excluded are those whose top-1 lies below the best one's by more than chance explains: McNemar's exact test on the
    pictures that only one of the two gets right, at 5 %. What remains is a tie, and is called one.
    """
    from .deploy.trained import runner

    samples = dataset.samples[: 5 * PROOF_IMAGES]
    files = [(str(s.file), s.file) for s in samples]
    pictures, kept = as_tensors(files, read.preprocess, where=dataset.name)
    targets = np.array([samples[i].target for i in kept])
    right: dict[str, NDArray[np.bool_]] = {}
    specs: dict[str, Spec] = {}
    for name, spec in ((_activation_name(read.spec), read.spec), *activation_variants(read.spec)):
        specs[name] = spec
        right[name] = runner(built(replace(read, spec=spec)))(pictures)[0].argmax(1) == targets
    best = max(right, key=lambda name: int(right[name].sum()))
    tied = [name for name in right if _paired_p(right[best], right[name]) > 0.05]
    table = tuple(
        TriedActivation(
            name, float(found.mean()), int(found.sum()), len(found),
            ("best" if name == best else "tied with the best") if name in tied else "excluded",
        )
        for name, found in right.items()
    )  # fmt: skip
    words = f"activation: {best} has the best top-1 on {len(targets)} pictures"
    words += f"; a tie with {', '.join(n for n in tied if n != best)}" if len(tied) > 1 else ""
    assumed = tuple(a for a in read.assumed if a != "activation" or len(tied) > 1)
    return table, replace(read, spec=specs[best], evidence=(*read.evidence, words), assumed=assumed)


def _paired_p(a: "NDArray[np.bool_]", b: "NDArray[np.bool_]") -> float:
    """McNemar's exact two-sided p of two classifiers on the same pictures."""
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    n = only_a + only_b
    tail: float = sum(comb(n, k) for k in range(min(only_a, only_b) + 1)) / 2**n
    return min(1.0, 2 * tail)


def _activation_name(spec: Spec) -> str:
    """What the table calls the activation that was read or assumed."""
    plain = {"relu": "ReLU", "relu6": "ReLU6"}
    act = spec.stem.act
    return plain.get(act, act) if isinstance(act, str) else str(act)
