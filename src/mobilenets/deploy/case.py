"""What a verification holds against each other: an exported file that is loaded, and the network it came from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Golden, ModelFile
from ..data import read_image
from ..data.image import ImageSource
from ..errors import MissingRuntime
from ..records import Preprocess
from ..tasks import decoding
from .checks import Limits
from .embedded import Inside, as_fed
from .targets import TARGETS, Precision, Session, Target, has_module
from .tracing import Source
from .trained import Arrays, Run, as_arrays, runner, trained_network

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The trained network of a model file, made when it is first asked for.

    given: the same network as a source that somebody has made (and traced) already.
    """

    model: ModelFile
    given: Source | None = None
    _made: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> Source | None:
        """The network as exporters take it; None without torch."""
        if self.given is not None:
            return self.given
        if not has_module("torch"):
            return None
        if "source" not in self._made:
            record = self.model.record
            self._made["source"] = Source(
                trained_network(self.model),
                record.spec.name,
                decoding(record.task).output_names,
                record.preprocess.channels,
                record.preprocess.size_px,
            )
        source: Source = self._made["source"]
        return source

    @property
    def network(self) -> "nn.Module | None":
        return None if self.source is None else self.source.network

    def run(self, *, beside: Path) -> Run | None:
        """The network as a function of tensors, as the record makes them; without torch a proved export of it.

        beside: the file that is being verified, which can't be its own witness. None where there is nothing to run.
        """
        if (network := self.network) is not None:
            return runner(network)
        record = self.model.record
        for export in record.exports:
            row = TARGETS[export.target]
            if export.verified and export.precision == "float32" and not row.why_not_here("float32"):
                path = self.model.local(export.file)
                if path.resolve() != beside.resolve():
                    session = row.open(path)
                    fed = row.fed(session.facts).preprocess if session.facts is not None else record.preprocess
                    return lambda tensors: as_arrays(session.run(as_fed(tensors, record.preprocess, fed)))
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What is verified: an opened model file with its golden vectors, one loaded export of it, and its limits.

    golden: what the file is held against: the model's golden vectors, or `seen_inside`. prepare: what a file with
    everything inside makes of pictures (N, H, W, 3), None for the others.
    """

    model: ModelFile
    golden: Golden
    target: Target
    precision: Precision
    path: Path
    session: Session
    limits: Limits
    reference: Reference
    prepare: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None = None

    def seen_inside(self) -> "Case":
        """Of a file with everything inside: its golden tensors are those that it makes of the golden pictures itself,
        the outputs the trained network's for them, so that the network in it is held to the limits of any other.

        Raises: MissingRuntime where nothing here can run the trained network; BadModelFile.
        """
        case = replace(self, prepare=self.target.prepared_by(self.path))
        made = case.tensors(self.golden.encoded)
        return replace(case, golden=replace(self.golden, inputs=made, outputs=self.witness()(made)))

    def tensors(self, pictures: Sequence[ImageSource]) -> NDArray[np.float32]:
        """What the file itself makes of pictures (N, C, h, w)."""
        assert self.prepare is not None
        return np.concatenate([self.prepare(read_image(picture)[None]) for picture in pictures])

    @property
    def inside(self) -> Inside:
        """What the file says that it does of the preprocessing."""
        return "nothing" if self.session.facts is None else self.session.facts.inside

    @property
    def fed(self) -> Preprocess:
        """The preprocess record in the layout and dtype that the file is fed."""
        record = self.model.record.preprocess
        facts = self.session.facts
        if facts is None:
            return record
        return replace(record, layout=facts.preprocess.layout, dtype=facts.preprocess.dtype)

    def inputs(self, tensors: NDArray[Any], pictures: Sequence[ImageSource]) -> list[NDArray[Any]]:
        """Batches as the file is fed: all tensors at once, or decoded pictures (1, H, W, 3) where it prepares them."""
        if self.inside == "everything":
            return [read_image(picture)[None] for picture in pictures]
        return [as_fed(tensors, self.model.record.preprocess, self.fed)]

    def answers(self, tensors: NDArray[Any], pictures: Sequence[ImageSource]) -> Arrays:
        """The file's outputs for N pictures, given as the tensors (N, C, h, w) of the record and as image files."""
        parts = [as_arrays(self.session.run(batch)) for batch in self.inputs(tensors, pictures)]
        return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))

    def witness(self) -> Run:
        """The trained network as a function of tensors. Raises MissingRuntime where nothing here can run it."""
        run = self.reference.run(beside=self.path)
        if run is None:
            raise MissingRuntime.extra(
                "a file with preprocessing inside is proved by the trained network; torch", "train"
            )
        return run
