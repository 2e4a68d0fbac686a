"""`list` and `show`: the keys that scripts rely on, the exact counts, and answers that a person can read."""

import json
from pathlib import Path

import pytest
from cli.conftest import Run

from mobilenets.specs import CATALOGUE, resolve, spec_from_json


def test_list_has_every_network_under_the_promised_keys(run: Run) -> None:
    answer = run("list", "--json")
    assert answer.code == 0
    assert answer.json["schema"] == 1
    networks = answer.json["networks"]
    assert len(networks) >= 20
    assert [n["name"] for n in networks] == list(CATALOGUE)
    assert all({"generation", "params", "macs", "resolution_px", "aliases"} <= n.keys() for n in networks)
    large = next(n for n in networks if n["name"] == "mobilenetv3_large")
    assert (large["params"], large["macs"], large["resolution_px"]) == (5_483_032, 216_589_760, [224, 224])
    assert "mobilenet_v3_large" in large["aliases"]


def test_list_with_a_budget_lists_only_what_fits(run: Run) -> None:
    answer = run("list", "--max-ram-kb", 320, "--max-flash-kb", 1024, "--precision", "int8", "--json")
    networks = answer.json["networks"]
    assert networks
    assert all(n["ram_kb"] <= 320 and n["flash_kb"] <= 1024 for n in networks)
    smaller = run("list", "--max-ram-kb", 100, "--max-flash-kb", 1024, "--json").json["networks"]
    assert 0 < len(smaller) < len(networks)
    assert run("list", "--max-ram-kb", 1).stdout == "nothing fits\n"


def test_fewer_classes_weigh_less(run: Run) -> None:
    def params(*options: object) -> int:
        return int(run("list", "--json", *options).json["networks"][0]["params"])

    assert params("--classes", 10) < params()
    assert params("--in-channels", 1) < params()


def test_show_has_the_promised_keys_and_counts(run: Run) -> None:
    shown = run("show", "mobilenetv3_large", "--json").json
    assert (shown["name"], shown["params"], shown["macs"]) == ("mobilenetv3_large", 5_483_032, 216_589_760)
    assert shown["flash_mb"].keys() == {"float32", "float16", "int8"}
    assert shown["peak_activation_mb"].keys() == {"float32", "int8"}
    assert sum(layer["params"] for layer in shown["layers"]) == shown["params"]
    assert sum(layer["macs"] for layer in shown["layers"]) == shown["macs"]


def test_show_obeys_every_variation(run: Run) -> None:
    plain = run("show", "mobilenetv2", "--json").json
    assert run("show", "mobilenetv2", "--alpha", 0.5, "--json").json["params"] < plain["params"]
    assert run("show", "mobilenetv2", "--resolution", 192, "--json").json["resolution_px"] == [192, 192]
    assert run("show", "mobilenetv2", "--resolution", "160x224", "--json").json["resolution_px"] == [160, 224]
    assert plain["params"] - run("show", "mobilenetv2", "--classes", 10, "--json").json["params"] == 990 * 1281
    assert plain["params"] - run("show", "mobilenetv2", "--in-channels", 1, "--json").json["params"] == 2 * 9 * 32


def test_show_writes_a_network_that_is_a_name_from_then_on(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    assert run("show", "mobilenetv2", "--alpha", 0.5, "-o", file).code == 0
    assert spec_from_json(file.read_text()) == resolve("mobilenetv2", alpha=0.5)
    assert (
        run("show", file, "--json").json["params"]
        == run("show", "mobilenetv2", "--alpha", 0.5, "--json").json["params"]
    )


@pytest.mark.parametrize("size", ["0", "12q", "1x2x3", "x", "-1", "3.5", "²"])
def test_a_size_that_is_none_is_refused_in_one_line(run: Run, size: str) -> None:
    answer = run("show", "mobilenetv2", f"--resolution={size}")
    assert answer.code == 2
    assert "is not a size; write 192, or 160x224 for height x width" in answer.stderr


def test_text_and_json_are_the_same_facts(run: Run) -> None:
    text = run("show", "mobilenetv2").stdout
    assert "3,504,872" in text
    assert "300,774,272" in text
    assert "\u00a0" not in text
    listed = run("list").stdout.splitlines()
    assert len(listed) == len(CATALOGUE) + 1
    assert len({len(line.split("  ")[0]) for line in listed}) > 1, "columns are text, not boxes"
    assert json.loads(run("list", "--json").stdout)["networks"][4]["name"] == listed[5].split()[0]
