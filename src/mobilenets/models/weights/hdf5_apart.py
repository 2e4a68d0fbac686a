"""Run as a program of its own: the contents of one HDF5 file to stdout, for hdf5.py.

libhdf5 can crash on damaged files, so it never runs inside the caller's process. Needs numpy and h5py alone; written
out are 8 bytes of length, a JSON header (strings, names, array names and shapes) and the arrays' float32 in order.
Links out of the file and data kept outside it are not followed. Optimizer states stay where they are.
"""

import json
import sys

import h5py
import numpy as np

SKIPPED = ("optimizer_weights", "optimizer")
MOST_ITEMS = 20_000
MOST_MEMORY = 1_000_000_000
TEXTS = ("model_config", "keras_version")


def main(path: str, most: int) -> None:
    """Write the file at `path`, whose arrays must not hold more than `most` numbers together."""
    with h5py.File(path, "r", locking=False) as file:
        arrays: dict[str, h5py.Dataset] = {}
        names: dict[str, str] = {}
        weight_names: dict[str, list[str]] = {}
        seen = numbers = 0

        def visit(name: str, item: object) -> None:
            nonlocal seen, numbers
            seen += 1
            if seen > MOST_ITEMS:
                raise ValueError(f"more than {MOST_ITEMS} groups and arrays")
            if name.partition("/")[0] in SKIPPED:
                return
            if isinstance(item, h5py.Group):
                if "name" in item.attrs:
                    names[name] = _text(item.attrs["name"])
                if listed := _weight_names(item):
                    weight_names[name] = listed
            elif isinstance(item, h5py.Dataset) and item.shape is not None and item.dtype.kind == "f":
                numbers += int(item.size)
                if numbers > most:
                    raise ValueError(f"{name} claims more numbers than the file can hold")
                if item.is_virtual or item.external:
                    raise ValueError(f"{name} keeps its data in another file, which is not followed")
                arrays[name] = item

        file.visititems(visit)
        header = {
            "texts": {key: _text(file.attrs[key]) for key in TEXTS if key in file.attrs},
            "names": names,
            "weight_names": weight_names,
            "arrays": [[name, list(item.shape)] for name, item in arrays.items()],
        }
        raw = json.dumps(header).encode()
        sys.stdout.buffer.write(len(raw).to_bytes(8, "little") + raw)
        for item in arrays.values():
            sys.stdout.buffer.write(np.ascontiguousarray(item[()], np.float32).data)
        sys.stdout.buffer.flush()


def _weight_names(group: h5py.Group) -> list[str]:
    """The list that Keras keeps beside a layer's arrays; long ones come in numbered parts."""
    keys = ["weight_names"] if "weight_names" in group.attrs else []
    while f"weight_names{len(keys)}" in group.attrs:
        keys.append(f"weight_names{len(keys)}")
    return [_text(part) for key in keys for part in np.ravel(group.attrs[key]).tolist()]


def _text(value: object) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _bound_memory() -> None:
    """Where the system can: a file that makes libhdf5 ask for more ends as a damaged one."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


if __name__ == "__main__":
    _bound_memory()
    try:
        main(sys.argv[1], int(sys.argv[2]))
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, IndexError, AttributeError, MemoryError) as error:
        sys.exit(" ".join(str(error).split())[:200] or type(error).__name__)
