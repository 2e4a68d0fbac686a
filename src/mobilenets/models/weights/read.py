"""What a reader hands over."""

from dataclasses import dataclass, field

from ...records import Labels, Preprocess
from ...specs.spec import Spec
from .graph import Array


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A published network: its spec, its weights under our names, what it is fed, and how sure that is.

    arrays: float32, exactly the names and shapes of `slots(spec)` (layout.py).
    evidence: what was found and what had to be assumed, one sentence each.
    left_out: tensors or operators of the file that are no part of the network, by their own names.
    tensors: the file's own name of each tap (`Spec.taps`), and of "logits", where the file is a graph.
    ends_in_softmax: whether the file answers with probabilities.
    assumed: details that the file does not hold ("activation", "preprocess", "stride", ...): the proof may try others.
    """

    spec: Spec
    arrays: dict[str, Array]
    preprocess: Preprocess
    labels: Labels | None = None
    evidence: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    tensors: dict[str, str] = field(default_factory=dict)
    ends_in_softmax: bool = False
    quantised: bool = False
    assumed: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
