"""`weights list`: the keys that scripts rely on, the filters, and a heading that says whose accuracies these are."""

import subprocess
import sys

from cli.conftest import Run

KEYS = {"id", "network", "alpha", "resolution_px", "classes", "source", "licence", "preprocess", "quoted", "size_mb", "params"}  # fmt: skip  # noqa: E501


def test_the_promised_keys(run: Run) -> None:
    answer = run("weights", "list", "--json")
    assert answer.code == 0
    rows = answer.json["weights"]
    assert len(rows) == 157
    assert all(row.keys() >= KEYS for row in rows)
    small = next(row for row in rows if row["id"] == "timm/mobilenetv3_small_100.lamb_in1k")
    assert (small["network"], small["alpha"], small["classes"]) == ("mobilenetv3_small_100", 1.0, 1000)
    assert (small["source"], small["licence"]) == ("timm", "Apache-2.0")
    assert small["quoted"] == {
        "top1": 0.6764, "top5": 0.8764, "where": "timm results/*.csv", "resolution_px": [224, 224],
    }  # fmt: skip
    assert (small["params"], small["size_mb"]) == (2_542_856, 10.171424)
    assert small["preprocess"] == {
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "fit": "short_then_crop", "crop_ratio": 0.875,
        "interpolation": "bicubic",
    }  # fmt: skip


def test_filters_narrow_the_list(run: Run) -> None:
    def ids(*options: object) -> list[str]:
        return [row["id"] for row in run("weights", "list", "--json", *options).json["weights"]]

    assert ids("small", "--source", "timm", "--generation", "v3", "--max-mb", 7) == [
        "timm/mobilenetv3_small_050.lamb_in1k"
    ]
    assert all(name.startswith("slim/mobilenet_v1_0.25") for name in ids("--max-params", 480000, "--source", "slim"))
    assert ids("--resolution", 96, "--alpha", 0.35, "--source", "huggingface") == ["google/mobilenet_v2_0.35_96"]
    assert ids("lamb", "050", "mobilenetv2") == ["timm/mobilenetv2_050.lamb_in1k"]


def test_the_table_says_that_accuracies_are_quoted(run: Run) -> None:
    lines = run("weights", "list", "lamb").stdout.splitlines()
    assert lines[0].split("  ")[-1].strip() == "quoted top-1"
    assert "67.6 %" in next(line for line in lines if "small_100.lamb" in line)
    assert "not measured here" in lines[-1]
    keras = run("weights", "list", "mobilenet_1_0_224_tf").stdout.splitlines()[1].split()
    assert keras[2] == "-", "no licence is quoted"
    assert run("weights", "list", "no", "such").stdout == "no published weights like this\n"


def test_a_wrong_source_is_one_line(run: Run) -> None:
    answer = run("weights", "list", "--source", "tim")
    assert answer.code == 2
    assert "invalid value for '--source'" in answer.stderr.splitlines()[0]


def test_it_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom mobilenets.cli import main\nassert main(['weights', 'list', '--json']) == 0\n"
        "assert not {'torch', 'numpy', 'PIL', 'huggingface_hub'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
