"""Writes the generated parts of README.md and docs/ again: `make docs`. tests/house/test_docs.py checks them for drift.

docs/cli.md is every command's --help; tables and picture come from the catalogue and the targets, latencies from
docs/latency.json (its "command" says how it was measured).
"""

import json
import os
import re
import sys
from pathlib import Path

from mobilenets.measure import cost
from mobilenets.measure.stages import network_summary
from mobilenets.report.diagram import network_diagram
from mobilenets.specs import CATALOGUE, PUBLISHED_ACCURACY, resolve

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- generated: {name} -->", "<!-- end: {name} -->"
PICTURED = "mobilenetv3_large"

STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; fill: #1b1f24 }
.title { font-size: 17px; font-weight: 600 } .soft, .tick, .axis-name, .stage-kind { fill: #5c6670 }
.tick, .stage-kind { font-size: 11.5px } .stage-name { font-weight: 600 }
.face { stroke: #ffffff; stroke-width: .8 } .face.front { fill: #9fbfe3 } .face.top { fill: #c7dbf1 }
.face.side { fill: #7ea6d4 } .track { fill: #eceef0 } .fill.tone-a { fill: #2563a8 } .fill.tone-b { fill: #d9772b }
"""


def picture() -> str:
    """One network's stages and what they cost, as an SVG that stands alone."""
    summary = network_summary(resolve(PICTURED))
    drawn = str(network_diagram(summary.stages))
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawn)
    assert box is not None
    width, height, top = float(box[1]), float(box[2]), 62
    inner = drawn.replace("<svg ", f'<svg x="0" y="{top}" width="{width:g}" height="{height:g}" ', 1)
    words = (
        f"{summary.params:,} parameters, {summary.macs / 1e6:.1f} M multiply-adds for one image of "
        f"{summary.resolution_px[0]} x {summary.resolution_px[1]} px; int8: {summary.flash_mb.int8:.1f} MB of flash, "
        f"{summary.peak_activation_mb.int8:.1f} MB of memory at its peak"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height + top + 14:g}" role="img" '
        f'aria-label="the stages of {PICTURED} and what they cost">\n<style>{STYLE}</style>\n'
        f'<rect width="100%" height="100%" rx="10" fill="#fbfbfa"/>\n'
        f'<text class="title" x="22" y="32">{PICTURED}</text>\n<text class="soft" x="22" y="54">{words}</text>\n'
        f"{inner}\n</svg>\n"
    )


def networks_table() -> str:
    """Every canonical network at its own width: sizes, multiply-adds, latency, published accuracy and its source."""
    latency = json.loads((ROOT / "docs" / "latency.json").read_text())
    published = {(p.network, p.alpha, p.side_px): p for p in PUBLISHED_ACCURACY}
    lines = [
        "| network | parameters | MACs | input, px | int8 flash, MB | int8 peak, MB | ms | ImageNet top-1 | source |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for name, entry in CATALOGUE.items():
        spent = cost(resolve(name))
        row = published.get((name, 1.0, entry.resolution_px[0])) if entry.alpha == 1 else None
        ms = latency["median_ms"].get(name)
        lines.append(
            f"| `{name}` | {spent.params:,} | {spent.macs / 1e6:,.1f} M | {entry.resolution_px[0]} "
            f"| {spent.flash_mb.int8:.1f} | {spent.peak_activation_mb.int8:.2f} | {'' if ms is None else f'{ms:.1f}'} "
            f"| {'' if row is None else f'{row.top1:.1%}'} | {'' if row is None else row.source} |"
        )
    return "\n".join([*lines, "", latency["words"]])


def targets_table() -> str:
    """Every row of the targets table."""
    from mobilenets.deploy import TARGETS

    inside = {"nothing": "", "normalise": "pixels of its size", "everything": "pictures of any size"}
    systems = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}
    lines = [
        "| `--target` | runtime | files | `--precision`, the first by default | `--with-preprocess` takes | run needs "
        "| export needs | runs on |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in TARGETS.values():
        extras = [f"`{extra}`" if extra else "the core" for extra in (row.run_extra, row.export_extra)]
        if row.export_extra not in ("", "train"):
            extras[1] = f"`train,{row.export_extra}`"
        lines.append(
            f"| `{row.name}` | {row.title} | `{row.suffix}` | {', '.join(row.precisions)} "
            f"| {inside[row.with_preprocess]} | {extras[0]} | {extras[1]} "
            f"| {', '.join(systems[name] for name in row.systems)} |"
        )
    return "\n".join(lines)


def cli_page() -> str:
    """Every command's --help."""
    import click

    from mobilenets.cli.app import COMMANDS, commands

    os.environ["COLUMNS"] = "100"
    parts = [
        "# The command line",
        "Written by `make docs` from the commands' own `--help`. Exit codes: 0 done · 1 a check said no · 2 wrong "
        "usage or input · 3 a runtime or device is missing · 70 a bug of ours (with a file to attach) · 130 "
        "interrupted. "
        "The answer is on stdout, everything else on stderr; `--json` prints exactly one object.",
        _block("mobilenets", help_of()),
    ]
    for name in COMMANDS:
        command = commands.get_command(click.Context(commands), name)
        names = [(name, inner) for inner in command.commands] if isinstance(command, click.Group) else [(name,)]
        parts += [_block(f"mobilenets {' '.join(path)}", help_of(*path)) for path in names]
    return "\n\n".join(parts) + "\n"


def help_of(*path: str) -> str:
    """What `mobilenets PATH --help` prints at 100 columns."""
    from click.testing import CliRunner

    from mobilenets.cli.app import commands
    from mobilenets.cli.shell import Shell

    done = CliRunner().invoke(commands, [*path, "--help"], prog_name="mobilenets", obj=Shell(), terminal_width=100)
    assert done.exit_code == 0, done.output
    return done.output.rstrip()


def _block(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text}\n```"


def filled(text: str, name: str, content: str) -> str:
    """`text` with what stands between the marks of `name` replaced by `content`."""
    begin, end = BEGIN.format(name=name), END.format(name=name)
    before, mark, rest = text.partition(begin)
    assert mark, f"no mark {begin}"
    return f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}"


def pages() -> dict[Path, str]:
    """Every generated file as it should be."""
    readme, deploy = ROOT / "README.md", ROOT / "docs" / "deploy.md"
    return {
        readme: filled(readme.read_text(), "networks", networks_table()),
        ROOT / "docs" / "cli.md": cli_page(),
        deploy: filled(deploy.read_text(), "targets", targets_table()),
        ROOT / "docs" / "pictures" / "mobilenetv3_large.svg": picture(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
