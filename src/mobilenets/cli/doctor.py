"""`mobilenets doctor`: what is installed here, and which targets have just run something."""

from . import options
from .shell import Shell
from .text import facts


@options.command("doctor", example="mobilenets doctor", python="mobilenets.diagnose()")
def doctor_command(shell: Shell) -> int:
    """Say what is installed, what runs, and the install line of what is missing. Changes nothing.

    Ends with 3 when no target runs here.
    """
    from ..deploy import diagnose

    found = diagnose()
    machine = found.machine
    targets = [
        (name, ("runs" if t.runs else "does not run") + (f"; {t.hint}" if t.hint else ""))
        for name, t in found.targets.items()
    ]
    lines = facts(
        (
            ("machine", f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb:g} GB, {machine.system}"),
            ("python", found.python),
            *found.packages.items(),
            *targets,
        )
    )
    shell.answer(found, lines)
    return 0 if any(target.runs for target in found.targets.values()) else 3
