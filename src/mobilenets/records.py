"""Result values: what each step found, as frozen records that read and write themselves as JSON (see codec.py).

Field names are the keys that `--json` prints, units included. Percentages exist only on screen: shares are 0..1.
Over 400 lines because one list of all records is what scripts read.
"""

from dataclasses import dataclass, field
from typing import Literal

from .errors import UsageError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a picture becomes the network's input; travels with the weights and is what every runner applies.

    size_px: (h, w) fed to the network.
    fit: "short_then_crop" resizes the shorter side to size / crop_ratio, then crops the centre (aspect kept);
        "central_then_stretch" crops the central crop_ratio of height and width, then resizes to size (slim's
        evaluation: aspect not kept); "stretch" resizes the whole picture to size.
    mean, std: one per channel, of pixels scaled to 0..1, in the order of `colour`.
    dtype: what is handed to the runner; "uint8" leaves mean and std to the graph.
    """

    size_px: tuple[int, int]
    fit: Literal["short_then_crop", "central_then_stretch", "stretch"] = "short_then_crop"
    crop_ratio: float = 0.875
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    antialias: bool = True
    colour: Literal["rgb", "bgr", "grey"] = "rgb"
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Literal["float32", "uint8", "int8"] = "float32"

    def __post_init__(self) -> None:
        if min(self.size_px) < 1:
            raise UsageError(f"preprocess: size_px must be at least (1, 1), not {self.size_px}")
        if not 0.0 < self.crop_ratio <= 1.0:
            raise UsageError(f"preprocess: crop_ratio must be in (0, 1], not {self.crop_ratio}")
        if len(self.mean) != len(self.std) or not self.mean:
            raise UsageError(f"preprocess: {len(self.mean)} means for {len(self.std)} standard deviations")
        if min(self.std) <= 0.0:
            raise UsageError(f"preprocess: std must be positive, not {self.std}")

    @property
    def channels(self) -> int:
        return len(self.mean)


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes in the order of the logits: unique ids, and a display name for each (the id where left out)."""

    ids: tuple[str, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.ids)) != len(self.ids):
            twice = next(i for i in self.ids if self.ids.count(i) > 1)
            raise UsageError(f"labels: {twice!r} occurs twice; labels must be unique (names need not be)")
        if self.names and len(self.names) != len(self.ids):
            raise UsageError(f"labels: {len(self.names)} names for {len(self.ids)} labels")

    def __len__(self) -> int:
        return len(self.ids)

    def name(self, index: int) -> str:
        return self.names[index] if self.names else self.ids[index]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a number was measured. `load` is the 1-minute load average when the measurement began."""

    cpu: str
    cores: int
    memory_gb: float
    system: str
    python: str
    isa: tuple[str, ...] = ()
    versions: dict[str, str] | None = None
    load: float = 0.0


# --- data ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that was listed and skipped; `kind` as in errors.UnreadableImage."""

    file: str
    kind: str
    cause: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Pictures that are the same: "exact" (equal bytes or pixels) or "near" (difference hashes a few bits apart)."""

    kind: Literal["exact", "near"]
    files: tuple[str, ...]
    splits: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClassCount:
    label: str
    train: int
    val: int
    test: int


@dataclass(frozen=True, slots=True)
class DataHealth:
    """What `data check` found. `leaks` are the duplicates that straddle two splits; `passed` is false on a leak
    or on a class without training images; `warnings` are one sentence each."""

    data: str
    images: int
    classes: int
    counts: tuple[ClassCount, ...]
    unreadable: tuple[UnreadableFile, ...]
    duplicates: tuple[Duplicate, ...]
    leaks: tuple[Duplicate, ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    modes: dict[str, int]
    rotated: int
    tiny: tuple[str, ...]
    sizes_px: tuple[tuple[int, int, int], ...]
    split_origin: str
    passed: bool


# --- cost ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FlashMB:
    """Weight bytes / 10^6 per precision."""

    float32: float
    float16: float
    int8: float


@dataclass(frozen=True, slots=True)
class ActivationMB:
    """Peak activation bytes / 10^6 per precision."""

    float32: float
    int8: float


@dataclass(frozen=True, slots=True)
class StageSummary:
    """A run of blocks at one resolution: what they are, the (h, w) and channels they hand on, and their cost.

    `size_px` (0, 0) marks what comes after global pooling.
    """

    name: str
    blocks: int
    kind: str
    channels: int
    size_px: tuple[int, int]
    params: int
    macs: int


@dataclass(frozen=True, slots=True)
class LayerMemory:
    """Activation bytes / 10^6 alive at float32 while one layer runs."""

    name: str
    alive_mb: float


@dataclass(frozen=True, slots=True)
class NetworkSummary:
    """A network and its cost at one resolution, for one image. `alpha` None: a network without a multiplier."""

    name: str
    alpha: float | None
    resolution_px: tuple[int, int]
    classes: int
    in_channels: int
    params: int
    macs: int
    flash_mb: FlashMB
    peak_activation_mb: ActivationMB
    peak_layer: str
    training_mb_per_image: float
    stages: tuple[StageSummary, ...] = ()
    memory: tuple[LayerMemory, ...] = ()


# --- training -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One line of results.csv. `metric` is the task's primary metric on val, of the averaged weights where kept."""

    epoch: int
    step: int
    seconds: float
    lr: float
    train_loss: float
    train_metric: float
    val_loss: float
    metric: float
    images_per_s: float


@dataclass(frozen=True, slots=True)
class Training:
    """How a run went. `stopped`: "done", "early stop" or "interrupted".

    best_metric: on val, of the weights the run returned; above every row of `history` where batch-norm statistics
    computed anew at the end did better (`notes` say so).
    """

    network: str
    recipe: dict[str, object]
    epochs: int
    steps: int
    seconds: float
    batch: int
    memory_format: str
    precision: str
    timings: dict[str, float]
    best_epoch: int
    best_metric: float
    stopped: str
    history: tuple[EpochRow, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reliability:
    """One bin of the calibration plot."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What `predict` applies to logits: probabilities = softmax(logits / temperature); an image whose free energy
    -temperature * logsumexp(logits / temperature) is above `energy_threshold` is "none of these".

    energy_threshold None: never. Both were fitted on `images` images of `split`.
    known_kept: share of these images that stays under the threshold.
    """

    temperature: float = 1.0
    energy_threshold: float | None = None
    known_kept: float = 1.0
    ece_before: float = 0.0
    ece_after: float = 0.0
    images: int = 0
    split: str = ""
    bins_before: tuple[Reliability, ...] = ()
    bins_after: tuple[Reliability, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Per-class figures: recall = correct / images, precision = correct / predicted (0 where never predicted)."""

    label: str
    images: int
    correct: int
    recall: float
    precision: float
    f1: float


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong answer on an evaluated image, with the confidence it was given."""

    file: str
    truth: str
    answer: str
    probability: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A classifier on labelled images. `interval` is Wilson's 95 % for top1; `balanced_top1` the mean recall of the
    classes that have images; confusion[t][p] counts images of class t answered p; `mistakes` worst first."""

    top1: float
    top5: float
    images: int
    interval: tuple[float, float]
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    balanced_top1: float
    mistakes: tuple[Mistake, ...] = ()
    unreadable: tuple[UnreadableFile, ...] = ()


# --- deployment ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Check:
    """One yes or no of a verification: the value found, the limit it was held to, what it says in words."""

    name: str
    passed: bool
    value: float | None
    limit: float | None
    detail: str = ""


Culprit = Literal[
    "decoder",
    "exif",
    "resize",
    "crop",
    "colour_order",
    "mean_std",
    "layout",
    "label_order",
    "norm_epsilon",
    "padding",
    "precision",
    "stale_weights",
    "unknown",
]
"""What can stand between a trained network and a file that answers otherwise: the closed list of `verify`."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What an exported file consists of, read off the file itself (and, for partitions, off its runtime).

    operators: how many of each kind. weights: how many numbers per type ("float32": 3504872). transposes: operators
    that only move data. partitions: parts that the fast kernels took whole (LiteRT: delegates; ExecuTorch: partitions),
    None where the runtime knows no such thing; outside: operators left to the slow path. complaints: what should not
    be so, one line each; empty in a file as it should be.
    """

    operators: dict[str, int]
    weights: dict[str, int]
    transposes: int = 0
    partitions: int | None = None
    outside: int = 0
    complaints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """An exported file against the trained network on image files.

    max_relative_error: largest logit difference / largest reference logit. top1_agreement: share of equal answers.
    culprit: what makes it answer otherwise; None where it passed. evidence: how that was found, in words. first_layer:
    the first layer whose output departs from the trained network's, where the runtime shows its inner tensors.
    drift: label -> share of that class's images that are answered otherwise, the worst classes first.
    """

    target: str
    file: str
    passed: bool
    images: int
    max_relative_error: float
    mean_relative_error: float
    top1_agreement: float
    checks: tuple[Check, ...]
    culprit: Culprit | None = None
    evidence: str = ""
    first_layer: str | None = None
    drift: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One network on one target: latency of a batch, warm, `rounds` runs; images_per_s = batch / median.

    file_mb: all files of the export. load_ms: opening it. aa_spread: of the run, see `Bench`. macs: of one image, 0
    where the network is not known; alpha None: a network without a multiplier, or one that is not known.
    peak_memory_mb: growth of a process's memory by loading and running it, 0 where it was not measured.
    top1: measured with this file on data of the user's; quoted_top1: published for the network (ImageNet), not ours;
    estimated_top1: from the nearest published width and size, as `deploy/choose.py` says. device: of a log, else "".
    """

    network: str
    target: str
    precision: str
    threads: int
    batch: int
    median_ms: float
    p90_ms: float
    images_per_s: float
    file_mb: float
    load_ms: float = 0.0
    rounds: int = 0
    resolution_px: tuple[int, int] = (0, 0)
    macs: int = 0
    peak_memory_mb: float = 0.0
    top1: float | None = None
    aa_spread: float = 1.0
    alpha: float | None = None
    quoted_top1: float | None = None
    estimated_top1: float | None = None
    device: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was asked for and could not be done here: an empty `network` or `precision` stands for all of them."""

    network: str
    target: str
    precision: str
    reason: str


@dataclass(frozen=True, slots=True)
class Bench:
    """Rows timed in turns in one run; `aa_spread` is the ratio between two series of the same row (noise)."""

    machine: Machine
    rows: tuple[BenchRow, ...]
    aa_spread: float = 1.0
    skipped: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network that was tried for a latency or size budget; `fits` says whether it stayed inside."""

    network: str
    alpha: float
    resolution_px: tuple[int, int]
    macs: int
    file_mb: float
    median_ms: float
    merit: float
    fits: bool
    chosen: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Roofline:
    """What a machine can do at most, measured: float32 multiply-adds (a matrix product in ONNX Runtime), and bytes
    copied (read + written) in a buffer of `working_set_mb`, about what the network keeps alive. For `threads`."""

    gmacs_per_s: float
    gb_per_s: float
    working_set_mb: float
    threads: int


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """One operator as its runtime ran it: the median or mean of its times. Fused ones bear one of their names.

    inputs, output: shapes, empty where the runtime does not tell. macs: by the shapes, 0 for what multiplies nothing.
    layer: of the network it belongs to, "" for none. delegated: whether the fast kernels took it, None where a runtime
    knows no such thing.
    """

    name: str
    kind: str
    ms: float
    inputs: tuple[tuple[int, ...], ...] = ()
    output: tuple[int, ...] = ()
    macs: int = 0
    bytes: int = 0
    layer: str = ""
    delegated: bool | None = None


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """Operators taken together: a layer, or a kind of layer. share: of the operators' time; intensity: MACs per byte.

    bound_ms: the least time by the roofline, max(macs / peak, bytes / bandwidth), and which of the two it is; reached:
    bound_ms / ms, above 1 where maps stay in a nearer cache than the copy that was timed.
    """

    name: str
    kind: str
    operators: int
    ms: float
    share: float
    macs: int
    bytes: int
    intensity: float
    bound: Literal["compute", "memory"]
    bound_ms: float
    reached: float
    size_px: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of one file goes. median_ms: without the profiler; profiled_ms: the operators' times together.

    outside: operators that fell out of the delegate, None where the runtime has none. words: why it is slow and what
    would help, a sentence each.
    """

    machine: Machine
    network: str
    target: str
    precision: str
    threads: int
    batch: int
    resolution_px: tuple[int, int]
    median_ms: float
    profiled_ms: float
    roofline: Roofline
    kinds: tuple[ProfileRow, ...]
    layers: tuple[ProfileRow, ...]
    operators: tuple[OperatorTime, ...]
    outside: int | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Misfit:
    """A measured row that does not fit, and by how much: 0 where that limit is kept or was not asked.

    unknown: limits that can't be judged because the row lacks the number ("max_mb").
    """

    row: BenchRow
    over_ms: float = 0.0
    over_mb: float = 0.0
    over_ram_mb: float = 0.0
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """Measured rows that fit a budget, the best accuracy first, and those that do not, the closest first.

    device: of the log they come from; "" for this machine. untried: options foretold to fit that the time did not
    allow to measure.
    """

    device: str
    rows: tuple[BenchRow, ...]
    misfits: tuple[Misfit, ...] = ()
    untried: int = 0
    machine: Machine | None = None
    skipped: tuple[LeftOut, ...] = ()
