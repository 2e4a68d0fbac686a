"""One training run in a process of its own, to be killed or started several times over by torchrun.

    python one_run.py PICTURES RUN '{"epochs": 6, "resume": false, "frozen": false, "micro_batches": 1, "ema": true}'

Prints "step N" after each step.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tiny import PLAIN, RECIPE, SIDE, tiny_network

from mobilenets.data import open_dataset
from mobilenets.records import Preprocess
from mobilenets.specs import with_drop_path, with_dropout
from mobilenets.tasks import task
from mobilenets.train import SGD, Budget, StepEvent, train


def told(event: StepEvent) -> None:
    sys.stdout.write(f"step {event.step}\n")
    sys.stdout.flush()


def main() -> None:
    torch.set_num_threads(1)
    how = json.loads(sys.argv[3])
    if how["exact"]:  # all that a resume could get wrong
        recipe, network = RECIPE, tiny_network()
    else:  # processes are compared: nothing random inside the network, and an optimizer that does not amplify rounding
        recipe = replace(
            PLAIN,
            optimizer=SGD(),
            lr=0.05,
            weight_decay=0.0,
            norm_statistics="frozen" if how["frozen"] else "live",
            micro_batches=how["micro_batches"],
        )
        network = tiny_network()
        plain = with_drop_path(with_dropout(network.spec, 0.0), 0.0)
        torch.manual_seed(0)
        network = task("classification").build(plain, open_dataset(sys.argv[1]).labels)
    train(
        network,
        task("classification"),
        dataset=open_dataset(sys.argv[1]),
        preprocess=Preprocess(size_px=(SIDE, SIDE)),
        recipe=recipe,
        budget=Budget(epochs=how["epochs"]),
        run=Path(sys.argv[2]),
        device="cpu",
        resume=how["resume"],
        on_step=told,
        checkpoint_s=0.0,
    )


if __name__ == "__main__":
    main()
