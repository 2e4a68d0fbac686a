"""A hub without the hub: its cache laid out on disk, and a server on this machine that answers as it does."""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from mobilenets.models.weights.layout import slots
from mobilenets.specs import Spec

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "timm/mobilenetv3_small_050.lamb_in1k"


def drawn(spec: Spec, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays under our names, variances positive."""
    rng = np.random.default_rng(seed)
    arrays = {slot.name: 0.3 * rng.standard_normal(slot.shape) for slot in slots(spec)}
    return {name: (abs(a) + 0.5 if name.endswith("var") else a).astype(np.float32) for name, a in arrays.items()}


def timm_repository(spec: Spec, arrays: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """The files of a repository as timm pushes them."""
    from mobilenets.models.weights.timm import write_timm

    config = {
        "architecture": spec.name,
        "num_classes": spec.classes,
        "num_features": spec.channels,
        "label_names": ["cat", "dog", "wren"],
        "label_descriptions": {"cat": "a cat"},
        "pretrained_cfg": {
            "tag": "lamb_in1k", "input_size": [3, 96, 96], "crop_pct": 0.9, "crop_mode": "center",
            "interpolation": "bicubic", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "num_classes": 3,
        },
    }  # fmt: skip
    card = "---\ntags:\n- timm\nlicense: apache-2.0\n---\n# Model card\n"
    weights = {name: array.copy() for name, array in write_timm(spec, arrays).items()}
    files = {"config.json": json.dumps(config).encode(), "README.md": card.encode(), "model.safetensors": save(weights)}
    return files | {"pytorch_model.bin": b"never asked for", "onnx/model.onnx": b"never asked for"}


def lay_out(cache: Path, repo: str, files: Mapping[str, bytes], *, commit: str = COMMIT) -> Path:
    """The hub's cache with one repository: refs/main, snapshots/COMMIT, blobs that are named by their hash."""
    home = cache / f"models--{repo.replace('/', '--')}"
    snapshot = home / "snapshots" / commit
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    (home / "blobs").mkdir()
    snapshot.mkdir(parents=True)
    for name, data in files.items():
        large = name.endswith((".safetensors", ".bin", ".zip"))
        digest = hashlib.sha256(data) if large else hashlib.sha1(b"blob %d\0" % len(data) + data)
        (home / "blobs" / digest.hexdigest()).write_bytes(data)
        place = snapshot / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.relpath(home / "blobs" / digest.hexdigest(), place.parent))
    return snapshot


@dataclass
class Server:
    """What the server was asked for."""

    address: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(repositories: Mapping[str, Mapping[str, bytes] | str]) -> Iterator[Server]:
    """A server with these repositories: their files, or the code of the error that the hub gives for them.

    "drops" sends half of what it promised.
    """
    served = Server("")

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(head=True)

        def do_GET(self) -> None:
            self.answer(head=False)

        def answer(self, *, head: bool) -> None:
            repo, _, rest = self.path.strip("/").partition("/resolve/")
            file = rest.partition("/")[2]
            held = repositories.get(repo, "RepoNotFound")
            if not head:
                served.asked.append(file)
            if held == "drops":
                self.found(b"{" + 1000 * b" ", head=head, sent=10)
            elif isinstance(held, str):
                self.refuse(held)
            elif file not in held:
                self.refuse("EntryNotFound")
            else:
                self.found(held[file], head=head)

        def found(self, data: bytes, *, head: bool, sent: int | None = None) -> None:
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if not head:
                self.wfile.write(data[:sent])

        def refuse(self, code: str) -> None:
            self.send_response(403 if code == "GatedRepo" else 404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
