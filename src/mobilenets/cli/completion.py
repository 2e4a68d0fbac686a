"""`mobilenets completion`: the script that lets a shell complete commands, options and network names."""

import os
import re
from typing import Literal, get_args

import click
from click.shell_completion import CompletionItem, ShellComplete, add_completion_class, get_completion_class

from . import options
from .shell import Shell

ShellName = Literal["bash", "zsh", "fish", "powershell"]

POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName %(prog_name)s -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = $commandAst.CommandElements | ForEach-Object { $_.ToString() }
    $env:%(complete_var)s = "powershell_complete"
    $env:COMP_WORDS = $words -join "`n"
    $env:COMP_CWORD = $wordToComplete
    %(prog_name)s | ForEach-Object {
        $kind, $value, $help = $_ -split "`t", 3
        $text = if ($help) { $help } else { $value }
        [System.Management.Automation.CompletionResult]::new($value, $value, "ParameterValue", $text)
    }
    Remove-Item Env:%(complete_var)s, Env:COMP_WORDS, Env:COMP_CWORD
}
"""


class PowerShellComplete(ShellComplete):
    """What click lacks: the words come one a line, the answers as kind, value and help between tabs."""

    name = "powershell"
    source_template = POWERSHELL

    def get_completion_args(self) -> tuple[list[str], str]:
        words = os.environ["COMP_WORDS"].split("\n")[1:]
        incomplete = os.environ.get("COMP_CWORD", "")  # PowerShell removes a variable that is set to nothing
        return (words[:-1] if incomplete and words[-1:] == [incomplete] else words), incomplete

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type}\t{item.value}\t{item.help or ''}"


add_completion_class(PowerShellComplete)


@options.command(
    "completion",
    example='eval "$(mobilenets completion bash)"',
    python="mobilenets.cli.main(['completion', 'bash'])",
)
@click.argument("name", metavar="SHELL", type=click.Choice(get_args(ShellName)))
def completion_command(shell: Shell, name: ShellName) -> None:
    """Print the completion script for SHELL: bash, zsh, fish or powershell.

    To have it always: bash and zsh, the example's line in ~/.bashrc or ~/.zshrc; fish, `mobilenets completion fish >
    ~/.config/fish/completions/mobilenets.fish`; PowerShell, `mobilenets completion powershell | Out-String |
    Invoke-Expression` in $PROFILE.
    """
    from .app import COMPLETING, commands

    maker = get_completion_class(name)
    assert maker is not None
    script = maker(commands, {}, "mobilenets", COMPLETING).source()
    script = re.sub(r"[ \t]+$", "", script, flags=re.MULTILINE).strip()
    shell.answer({"shell": name, "script": script}, [script])
