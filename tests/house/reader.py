"""The reader of the docs: the pages, their commands and Python, and the folder in which both are run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
from models.weights.made_onnx import network, unfolded

from mobilenets.bundle import synthetic_images
from mobilenets.cli.app import COMMANDS
from mobilenets.cli.app import commands as group
from mobilenets.cli.options import Command

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)

# A documented command is run as written, but for these: a run of minutes becomes one of seconds.
SHORTER = (
    ("--minutes 10", "--minutes 0.05"),
    ("--epochs 20", "--epochs 1"),
    ("fit digits", "fit digits --epochs 1"),
    ("mobilenets bench", "mobilenets bench --rounds 3"),
    ("--max-latency-ms 5 ", "--minutes 0.2 --max-latency-ms 5 "),
)


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks, without comments; a backslash goes on with the next line."""
    text = "".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = (" ".join(shlex.split(line, comments=True)) and line.split("  #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def leaves() -> list[Command]:
    """Every command that does something, those of groups too."""
    found: list[Command] = []
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        found += command.commands.values() if isinstance(command, click.Group) else [command]
    return found


def documented() -> list[str]:
    return list(
        dict.fromkeys(
            [line for page in PAGES for line in commands(page)]
            + [line for command in leaves() for line in command.example.splitlines()]
        )
    )


def make_place(place: Path) -> Path:
    """What the docs call the reader's own folder: photos/, more-photos/, cat.jpg, somebody's theirs.onnx."""
    for seed, (split, count) in enumerate((("train", 8), ("val", 4), ("test", 4))):
        made = iter(synthetic_images(2 * count, size_px=(40, 40), seed=seed))
        for label in ("cat", "dog"):
            (place / "photos" / split / label).mkdir(parents=True)
            for index in range(count):
                suffix, data = next(made)
                (place / "photos" / split / label / f"{index}{suffix}").write_bytes(data)
    shutil.copytree(place / "photos" / "test" / "cat", place / "more-photos")
    shutil.copy(next(p for p in (place / "more-photos").iterdir() if p.suffix == ".jpg"), place / "cat.jpg")
    (place / "theirs.onnx").write_bytes(unfolded(network("mobilenetv2", alpha=0.35)))
    return place


def run(line: str, place: Path) -> None:
    for long, short in SHORTER:
        line = line.replace(long, short)
    words = [sys.executable, "-m", "mobilenets", *shlex.split(line)[1:]]
    env = {**os.environ, "MOBILENETS_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=place, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def run_code(code: str, place: Path) -> None:
    env = {**os.environ, "MOBILENETS_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=place, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"


def make_fitted_place(place: Path) -> Path:
    """The same after `mobilenets fit photos/`."""
    made = make_place(place)
    run("mobilenets fit photos/ --network mobilenetv3_small --alpha 0.5 --epochs 1 --resolution 32", made)
    return made
