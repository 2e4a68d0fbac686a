"""What a report shows, as one frozen record that reads and writes itself as JSON.

The rooms' own results stand in it unchanged; beside them only what no room keeps: small pictures. Every part may be
missing, and its section then is.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError
from ..records import (
    Bench,
    Calibration,
    Candidate,
    DataHealth,
    Evaluation,
    Labels,
    Mistake,
    NetworkSummary,
    Training,
    Verification,
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A small picture inside the page. `data` is the encoded file in base64; `size_px` is (h, w)."""

    file: str
    kind: Literal["image/jpeg", "image/png"]
    data: str
    size_px: tuple[int, int]

    def __post_init__(self) -> None:
        try:
            base64.b64decode(self.data, validate=True)
        except binascii.Error as error:
            raise UsageError(f"picture {self.file}: data must be base64: {error}") from error
        if min(self.size_px) < 1:
            raise UsageError(f"picture {self.file}: size_px must be at least (1, 1), not {self.size_px}")


@dataclass(frozen=True, slots=True)
class MistakePicture:
    """A wrong answer with its picture; without one (None) where pictures may not be shared."""

    mistake: Mistake
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class SamplePictures:
    """A few training pictures of one class."""

    label: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Beginning:
    """The weights that training began with.

    source: as the caller named them; file, format, sha256: what that was; licence, quoted: as their source states them.
    changes: what was replaced or adapted. probe: the network before the first step, its head fitted to frozen
    features; gain: the end's top-1 less the probe's on the same pictures, and the ends of its 95 % interval.
    """

    source: str
    file: str
    format: str
    sha256: str
    licence: str = ""
    quoted: str = ""
    evidence: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    probe: Evaluation | None = None
    gain: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class FitReport:
    """All that one report shows.

    title: what was learnt, as the reader calls it (the data set's name).
    created: date and time, ISO 8601.
    command: the line that makes this result again.
    model, model_mb: the model file and its bytes / 10^6 (None: not written).
    metric: the task's primary metric, as in `tasks` ("top1").
    test, val: the trained network on each split. bench: its first row is the headline's latency and file.
    provenance: (what, value) pairs in the order in which they are shown.
    notes: sentences for the reader; warnings: sentences that call for something.
    """

    title: str
    created: str
    command: str
    model: str
    labels: Labels
    metric: str = "top1"
    model_mb: float | None = None
    network: NetworkSummary | None = None
    data: DataHealth | None = None
    training: Training | None = None
    beginning: Beginning | None = None
    test: Evaluation | None = None
    val: Evaluation | None = None
    calibration: Calibration | None = None
    verification: tuple[Verification, ...] = ()
    bench: Bench | None = None
    candidates: tuple[Candidate, ...] = ()
    mistakes: tuple[MistakePicture, ...] = ()
    samples: tuple[SamplePictures, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.title or not self.model:
            raise UsageError("report: title and model must not be empty")
        for evaluation in (self.test, self.val):
            if evaluation is not None and len(evaluation.per_class) != len(self.labels):
                raise UsageError(f"report: {len(evaluation.per_class)} classes evaluated, {len(self.labels)} labels")
