"""timm's networks converted by litert-torch, for `benchmarks/deployed.py`: run it in an environment of its own.

    python -m venv peers && peers/bin/pip install torch torchvision timm litert-torch
    peers/bin/python benchmarks/litert_peers.py FOLDER

litert-torch brings 0.9 GB of packages that clash with others of ours, so nothing of mobilenets is needed here.
"""

import sys
from pathlib import Path

import litert_torch
import timm
import torch
from deployed_networks import NETWORKS, SIDE_PX, filled


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        model = filled(timm.create_model(name, num_classes=1000))
        last = litert_torch.to_channel_last_io(model, args=[0])
        litert_torch.convert(last, (torch.rand(1, SIDE_PX, SIDE_PX, 3),)).export(str(folder / f"{name}.tflite"))
        sys.stderr.write(f"{name}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
