"""A whole FitReport made of numbers: every section filled, any number of classes, the same each time."""

import numpy as np

from mobilenets.records import (
    ActivationMB,
    Bench,
    BenchRow,
    Candidate,
    Check,
    ClassCount,
    DataHealth,
    Duplicate,
    EpochRow,
    FlashMB,
    Labels,
    LayerMemory,
    Machine,
    NetworkSummary,
    StageSummary,
    Training,
    UnreadableFile,
    Verification,
)
from mobilenets.report import (
    Beginning,
    FitReport,
    MistakePicture,
    SamplePictures,
    thumbnail,
)
from mobilenets.tasks import decoding

NASTY = "<script>alert(\"x\")</script> & 'quoted' é 猫.png"
"""A file name that breaks a page which forgets to escape it."""


def example(
    classes: int = 10, *, per_class: int = 18, skill: float = 3.2, nasty: str = NASTY, names: tuple[str, ...] = ()
) -> FitReport:
    """A report on `classes` classes; `skill` is how far the true logit stands out, `nasty` one of the file names."""
    rng = np.random.default_rng(classes)
    labels = Labels(tuple(f"class-{k:02d}" for k in range(classes)), names)
    answers = decoding("classification")
    targets = np.repeat(np.arange(classes), per_class)
    logits = rng.normal(0.0, 1.0, (len(targets), classes)).astype(np.float32)
    logits[np.arange(len(targets)), targets] += skill
    logits[np.arange(len(targets)), (targets * 3 + 1) % classes] += skill / 3
    files = [nasty, *(f"test/class-{k:02d}/{i:04d}.jpg" for i, k in enumerate(targets))][: len(targets)]
    calibration = answers.calibrate(2.0 * logits, targets, split="val")
    test = answers.evaluate(2.0 * logits, targets, labels=labels, files=files, calibration=calibration)
    return FitReport(
        title="digits",
        created="2026-03-04T10:15:00+00:00",
        command="mobilenets fit digits --epochs 30 --seed 0",
        model="runs/digits/model",
        model_mb=2.413,
        labels=labels,
        network=network(classes),
        data=health(classes, nasty),
        training=training(),
        beginning=Beginning(
            source="hf-hub:timm/mobilenetv3_large_100.ra_in1k",
            file=nasty,
            format="hub",
            sha256="c0ffee" * 10,
            licence="apache-2.0",
            quoted="top-1 75.78 % by timm",
            evidence=("padding is symmetric",),
            changes=(f"the classifier of 1000 classes is replaced by one of {classes}",),
            probe=test,
            gain=(0.031, 0.012, 0.05),
        ),
        test=test,
        val=answers.evaluate(2.0 * logits[::2], targets[::2], labels=labels, files=files[::2]),
        calibration=calibration,
        verification=(verification(len(targets)),),
        bench=bench(),
        candidates=candidates(),
        mistakes=tuple(MistakePicture(m, thumbnail(m.file, picture(rng))) for m in test.mistakes[:24]),
        samples=tuple(
            SamplePictures(label, tuple(thumbnail(f"{label}/{i}", picture(rng)) for i in range(2)))
            for label in labels.ids
        ),
        provenance=(("Data hash", "3f9a" * 16), ("Seed", "0"), ("mobilenets", "0.1.0"), ("Revision", "1a2b3c4")),
        notes=("The split was made from the folder and written to split.json.",),
    )


def picture(rng: np.random.Generator) -> np.ndarray:
    """An 8 x 8 picture, enlarged to 96 px."""
    return rng.integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(12, 0).repeat(12, 1)


def network(classes: int) -> NetworkSummary:
    kinds = ("3×3 convolution", "bottleneck", "bottleneck", "bottleneck, SE", "bottleneck, SE", "1×1 convolution")
    rows = zip(kinds, (1, 1, 2, 5, 3, 1), (16, 16, 24, 48, 96, 576), (32, 16, 8, 4, 2, 2), strict=True)
    stages = tuple(
        StageSummary(
            "stem" if not i else f"stage {i}", blocks, kind, width, (px, px), 1200 * width, 40_000 * px * blocks
        )
        for i, (kind, blocks, width, px) in enumerate(rows)
    )
    head = StageSummary("head", 1, "2 linear layers", 1024, (0, 0), 576 * 1024 + 1024 * classes, 600_064)
    layers = tuple(LayerMemory(f"rows.{i}.{'expand' if i % 2 else 'project'}", 0.3 + 3.1 / (i + 1)) for i in range(34))
    return NetworkSummary(
        name="mobilenetv3_small",
        alpha=0.5,
        resolution_px=(32, 32),
        classes=classes,
        in_channels=3,
        params=1_532_018,
        macs=12_345_678,
        flash_mb=FlashMB(6.128, 3.064, 1.532),
        peak_activation_mb=ActivationMB(3.4, 0.85),
        peak_layer="rows.0.project",
        training_mb_per_image=9.7,
        stages=(*stages, head),
        memory=layers,
    )


def health(classes: int, nasty: str) -> DataHealth:
    counts = tuple(ClassCount(f"class-{k:02d}", 140 + 13 * k % 57, 18, 18) for k in range(classes))
    return DataHealth(
        data="digits",
        images=1797,
        classes=classes,
        counts=counts,
        unreadable=(UnreadableFile(nasty, "truncated", "image file is truncated (12 bytes not processed)"),),
        duplicates=(Duplicate("exact", ("train/a.png", nasty), ("train", "train"), ("class-00", "class-01")),),
        leaks=(),
        errors=(),
        warnings=("class 'class-03' has 3 times fewer training images than 'class-01'",),
        modes={"L": 1790, "RGB": 7},
        rotated=4,
        tiny=(),
        sizes_px=((8, 8, 1790), (12, 9, 7)),
        split_origin="seeded 80/10/10, seed 0",
        passed=True,
    )


def training(epochs: int = 30) -> Training:
    history = tuple(
        EpochRow(
            epoch=e,
            step=45 * e,
            seconds=0.62 * e,
            lr=2e-3 * (1 - e / (epochs + 1)),
            train_loss=2.3 * 0.86**e + 0.31,
            train_metric=1 - 0.88 * 0.83**e,
            val_loss=2.3 * 0.88**e + 0.36 + 0.01 * (e % 3),
            metric=0.985 - 0.87 * 0.85**e + 0.003 * (e % 2),
            images_per_s=2310.0,
        )
        for e in range(1, epochs + 1)
    )
    recipe: dict[str, object] = {"optimizer": "adamw", "lr": 0.002, "weight_decay": 0.05, "betas": [0.9, 0.999]}
    return Training(
        network="mobilenetv3_small",
        recipe=recipe,
        epochs=epochs,
        steps=45 * epochs,
        seconds=18.6,
        batch=32,
        memory_format="channels_last",
        precision="float32",
        timings={"contiguous float32": 0.0214, "channels_last float32": 0.0142, "evaluation_s": 1.25},
        best_epoch=29,
        best_metric=0.988,
        stopped="done",
        history=history,
    )


def verification(images: int) -> Verification:
    checks = (
        Check("logits", True, 3.1e-6, 1e-4, "largest difference over the largest logit"),
        Check("top-1 agreement", True, 1.0, 0.995, ""),
        Check("golden vectors", True, 2.2e-6, 1e-4, "16 pictures of the model file"),
    )
    return Verification("onnx", "model.onnx", True, images, 3.1e-6, 4.2e-7, 1.0, checks)


def bench() -> Bench:
    machine = Machine(
        "Some CPU @ 2.60GHz", 2, 7.8, "Linux 6.1 x86_64", "3.11.7", ("avx2", "avx512f"), {"onnxruntime": "1.27.0"}, 0.4
    )
    name = "mobilenetv3_small 0.5"
    rows = (
        BenchRow(name, "onnx", "float32", 1, 1, 0.413, 0.472, 2421.0, 2.36, 18.2, 200),
        BenchRow(name, "onnx", "float32", 2, 1, 0.298, 0.391, 3355.0, 2.36, 18.2, 200),
        BenchRow(name, "onnx", "float32", 1, 8, 2.611, 2.803, 3064.0, 2.36, 18.2, 200),
    )
    return Bench(machine, rows, 1.03)


def candidates() -> tuple[Candidate, ...]:
    return (
        Candidate("mobilenetv3_small", 0.5, (32, 32), 12_345_678, 2.36, 0.413, 0.58, True, True, "best that fits"),
        Candidate("mobilenetv3_large", 1.0, (32, 32), 98_000_000, 21.9, 4.2, 0.75, False),
    )
