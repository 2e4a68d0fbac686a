"""The rooms and the one direction in which imports go: the house's table as data, held against every source file."""

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "mobilenets"
FILES = sorted(PACKAGE.rglob("*.py"))

GROUND = {"errors", "records", "files", "codec", "_lazy"}
BELOW_TASKS = {"specs", "models", "data"}
BELOW_DEPLOY = BELOW_TASKS | {"measure", "tasks", "bundle"}
BELOW_COMPRESS = BELOW_DEPLOY | {"train", "deploy"}
BELOW_JOBS = BELOW_COMPRESS | {"compress", "search", "report"}

# Room -> the rooms that it may know. Rooms on one floor do not know each other.
MAY_IMPORT: dict[str, set[str]] = {
    **{ground: set() for ground in GROUND},
    "specs": set(),
    "measure": {"specs"},
    "data": set(),
    "models": {"specs"},
    "tasks": BELOW_TASKS,
    "bundle": BELOW_TASKS,
    "train": BELOW_DEPLOY,
    "deploy": BELOW_DEPLOY,
    "compress": BELOW_COMPRESS,
    "search": BELOW_COMPRESS,
    "report": {"specs"},
    # Floor 6: the two main jobs, and what fit plans before training and packs after it.
    "starting": BELOW_JOBS | {"hub"},
    "planning": BELOW_JOBS | {"starting"},
    "packing": BELOW_JOBS | {"planning"},
    "fitting": BELOW_JOBS | {"planning", "packing", "starting"},
    # Importing: the originals in their runtimes, the proof, and the job.
    "originals": BELOW_JOBS,
    "proving": BELOW_JOBS | {"originals"},
    "activations": BELOW_JOBS | {"proving"},
    "importing": BELOW_JOBS | {"hub", "originals", "proving", "activations"},
    "loading": BELOW_JOBS | {"hub", "importing"},
    # To and from the hub of other people's networks.
    "hub": BELOW_JOBS,
    "pushing": BELOW_JOBS | {"hub"},
    "cli": BELOW_JOBS | {"fitting", "planning", "packing", "starting", "importing", "hub", "pushing", "loading"},
    "__main__": {"cli"},
    "__init__": BELOW_COMPRESS | {"compress", "search", "fitting", "importing", "loading"},
}
NO_TORCH_AT_ALL = {"specs", "measure", "report", *GROUND}  # not even inside a function
NO_TORCH_AT_TOP = {
    "data",
    "bundle",
    "deploy",
    "fitting",
    "planning",
    "packing",
    "starting",
    "importing",
    "loading",
    "originals",
    "proving",
    "activations",
    "hub",
    "pushing",
    "cli",
    "__main__",
    "__init__",
}
RUNTIMES = {"onnxruntime", "onnx", "onnxscript", "tflite_runtime", "ai_edge_litert", "executorch", "coremltools"}
HEAVY = {"sklearn", "scipy", "matplotlib", "torchvision", "timm", "tensorboard", "wandb", "mlflow", "huggingface_hub"}
TORCH = {"torch", "torchvision", "timm"}


@dataclass(frozen=True)
class Import:
    """One imported name: `module` as absolute dotted path, `at_top` outside of any function and TYPE_CHECKING."""

    module: str
    name: str
    at_top: bool
    line: int


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(source: str, package: str) -> list[Import]:
    """Every import of a file that lies in `package` (dotted), relative ones made absolute."""
    found: list[Import] = []

    def visit(node: ast.AST, at_top: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, "", at_top, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.extend(Import(module, alias.name, at_top, node.lineno) for alias in node.names)
        inner = at_top and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            inner = False
        for child in ast.iter_child_nodes(node):
            visit(child, inner)

    visit(ast.parse(source), True)
    return found


def complaints(file: Path, source: str) -> list[str]:
    """What is wrong with a file's imports, by the tables above."""
    here = room(file)
    package = ".".join(["mobilenets", *file.relative_to(PACKAGE).parent.parts])
    wrong = []
    for item in imports(source, package):
        top = item.module.split(".")[0]
        place = f"{file.name}:{item.line}: {here}"
        if top == "mobilenets":
            there = item.module.split(".")[1] if "." in item.module else item.name
            if there in MAY_IMPORT and there not in MAY_IMPORT[here] | GROUND | {here}:
                wrong.append(f"{place} may not import {there}")
            if here == "cli" and item.at_top and there not in GROUND | {"cli", "__version__"}:
                wrong.append(f"{place} imports {there} outside of a function")
            foreign = there in MAY_IMPORT and there not in {here, *GROUND}
            if foreign and any(part.startswith("_") for part in (*item.module.split("."), item.name)):
                wrong.append(f"{place} touches {item.module}.{item.name}, which is private to {there}")
        decoding = here == "tasks" and file.name == "decoding.py"
        if top in TORCH and (here in NO_TORCH_AT_ALL or decoding):
            wrong.append(f"{place} may not import {top}")
        if top in TORCH and item.at_top and (here in NO_TORCH_AT_TOP or (here == "tasks" and file.name == "table.py")):
            wrong.append(f"{place} imports {top} outside of a function")
        if top in RUNTIMES | (HEAVY - TORCH) and item.at_top:
            wrong.append(f"{place} imports {top} outside of a function")
    return wrong


def test_files_keep_to_the_table() -> None:
    assert [wrong for file in FILES for wrong in complaints(file, file.read_text())] == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("specs/v9.py", "from ..models import build"),
        ("specs/v9.py", "from mobilenets import models"),
        ("specs/v9.py", "def f():\n    import torch"),
        ("data/reader.py", "import torch"),
        ("data/reader.py", "if TYPE_CHECKING:\n    from ..specs import Spec"),
        ("train/loop.py", "from ..deploy import verify_model"),
        ("deploy/onnx.py", "import onnxruntime as ort"),
        ("tasks/pose/decoding.py", "def f():\n    import torch"),
        ("models/build.py", "from ..specs._rows import Row"),
        ("cli/fit.py", "from ..fitting import fit"),
        ("report/page.py", "from .. import fitting"),
    ],
)
def test_a_forbidden_import_is_seen(file: str, source: str) -> None:
    assert complaints(PACKAGE / file, source)


def test_every_room_is_in_the_table() -> None:
    assert {room(file) for file in FILES} <= set(MAY_IMPORT)
