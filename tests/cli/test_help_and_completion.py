"""Help that opens with an example, quick starts, progress only where somebody looks, completion in four shells."""

import os
import pty
import resource
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from cli.conftest import Run, in_process_of_its_own

from mobilenets.cli.app import COMMANDS, commands
from mobilenets.cli.options import Command

GROUPS = {"data": ("check", "show"), "weights": ("list",)}
LEAVES = [path for name in COMMANDS for path in ([(name, i) for i in GROUPS[name]] if name in GROUPS else [(name,)])]


def command_at(path: tuple[str, ...]) -> Command:
    found = commands.get_command(None, path[0])  # type: ignore[arg-type]
    for name in path[1:]:
        found = found.commands[name]  # type: ignore[union-attr]
    assert isinstance(found, Command)
    return found


@pytest.mark.parametrize("path", LEAVES, ids="-".join)
def test_help_opens_with_an_example_and_ends_with_python(run: Run, path: tuple[str, ...]) -> None:
    answer = run(*path, "--help")
    command = command_at(path)
    assert answer.code == 0
    lines = answer.stdout.splitlines()
    assert lines[0] == "Example:"
    assert f"mobilenets {' '.join(path)}" in lines[1]
    assert answer.stdout.rstrip().endswith(textwrap.indent(command.python, "  "))
    assert "--json" in answer.stdout
    assert all(param.help for param in command.params if param.param_type_name == "option")  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", LEAVES, ids="-".join)
def test_the_example_is_spelt_as_the_options_are(path: tuple[str, ...]) -> None:
    command = command_at(path)
    words = command.example.removeprefix('eval "$(').removesuffix(')"').split()[1 + len(path) :]
    context = command.make_context("mobilenets", words, obj=None, resilient_parsing=True)
    assert not context.args, "words that no option or argument takes"


def test_a_bare_call_shows_what_a_beginner_needs(run: Run) -> None:
    answer = run()
    assert answer.code == 0
    named = [line.split()[1] for line in answer.stdout.splitlines() if line.startswith("  mobilenets ")]
    assert len(named) == 5
    assert set(named) <= set(COMMANDS)


@pytest.mark.parametrize(
    "args", [["--help"], ["list", "--json"], ["fit", "--help"], ["show", "mobilenetv2"], []], ids=str
)
def test_what_needs_no_torch_loads_none(args: list[str]) -> None:
    code = (
        "import sys\nfrom mobilenets.cli import main\nassert main(sys.argv[1:]) == 0\n"
        "heavy = {'torch', 'onnxruntime', 'PIL', 'sklearn', 'rich', 'numpy'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def cpu_seconds(*args: str) -> float:
    """Processor time of the quickest of five: the clock on the wall would measure what else this machine does."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    times = []
    for _ in range(5):
        before = spent()
        subprocess.run([sys.executable, *args], check=True, capture_output=True, timeout=60)
        times.append(spent() - before)
    return min(times)


def test_list_answers_within_half_a_second() -> None:
    assert cpu_seconds("-m", "mobilenets", "list", "--json") < 0.5


def test_import_takes_less_than_150_ms() -> None:
    assert cpu_seconds("-c", "import mobilenets") - cpu_seconds("-c", "pass") < 0.15


def test_quiet_and_verbose_are_obeyed(run: Run, photos: Path) -> None:
    assert run("data", "check", photos, "-q").stderr == ""
    assert run("data", "check", photos).stderr == "", "no progress where nobody looks"


def on_a_terminal(*args: str, **env: str) -> str:
    """What a command writes to stderr when that is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mobilenets", *args], stdout=subprocess.DEVNULL, stderr=theirs, env={**os.environ, **env}
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux: the other end was closed
            break
        if not part:
            break
        written += part
    assert process.wait(60) == 0
    return written.decode()


def test_progress_is_drawn_on_a_terminal_and_colour_can_be_refused(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = on_a_terminal("data", "check", str(photos), TERM="xterm-256color")
    assert "reading" in coloured
    assert "\x1b[38;5" in coloured
    plain = on_a_terminal("data", "check", str(photos), TERM="xterm-256color", NO_COLOR="1")
    assert "reading" in plain
    assert "\x1b[38;5" not in plain
    assert on_a_terminal("data", "check", str(photos), "-q", TERM="xterm") == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_scripts_call_back(run: Run, shell: str) -> None:
    answer = run("completion", shell)
    assert answer.code == 0
    assert f"{shell}_complete" in answer.stdout
    assert "_MOBILENETS_COMPLETE" in answer.stdout
    assert run("completion", shell, "--json").json["script"] == answer.stdout.rstrip("\n")


@pytest.mark.parametrize(
    ("shell", "words", "number", "wanted"),
    [
        ("bash", "mobilenets sho", "1", "plain,show"),
        ("bash", "mobilenets show mobilenetv3_la", "2", "plain,mobilenetv3_large"),
        ("bash", "mobilenets show mobilenetv2 --al", "3", "plain,--alpha"),
        ("powershell", "mobilenets\nsho", "sho", "plain\tshow\t"),
        ("powershell", "mobilenets\nshow", "", "plain\tmobilenetv2\t"),
    ],
)
def test_completion_answers(shell: str, words: str, number: str, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_MOBILENETS_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", number)
    answer = in_process_of_its_own([])
    assert answer.code == 0
    assert any(line.startswith(wanted) for line in answer.stdout.splitlines()), answer.stdout


def test_a_log_on_request(run: Run, photos: Path) -> None:
    started = time.monotonic()
    assert run("data", "show", photos, "-vv").code == 0
    assert time.monotonic() - started < 30
