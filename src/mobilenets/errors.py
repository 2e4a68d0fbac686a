"""Every exception this library raises on purpose, as one tree; the command line maps each branch to an exit code.

A message is one line: what was asked, what was found and where. `hint` is the optional second line: the next step.
"""


class MobilenetsError(Exception):
    """Root of the tree. `exit_code` is what the command line ends with (style: 1 check, 2 usage, 3 runtime, 70 bug)."""

    exit_code = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MobilenetsError):
    """The caller's words or input are wrong."""

    exit_code = 2


class UnknownName(UsageError):
    """A network, target, recipe or label that does not exist; the message names the closest ones."""


class SpecError(UsageError):
    """A network that can't be: a width of 0, an even kernel, rows whose channels do not fit."""


class BadData(UsageError):
    """A data set, file or record that can't be used."""


class UnreadableImage(BadData):
    """One image file that gives no picture.

    kind: one of "empty file", "not an image", "unsupported", "truncated", "corrupt", "too large", "missing".
    """

    def __init__(self, file: str, kind: str, cause: str) -> None:
        super().__init__(f"{file}: {kind}: {cause}" if cause else f"{file}: {kind}")
        self.file = file
        self.kind = kind
        self.cause = cause


class BadModelFile(UsageError):
    """A model file that is damaged, incomplete, newer than this library, or not a model file at all."""


class CheckpointMismatch(UsageError):
    """Weights that do not fit the network; the message shows the first tensor that differs."""


class CheckFailed(MobilenetsError):
    """A check said no: the work was done, the answer is bad."""

    exit_code = 1


class VerifyFailed(CheckFailed):
    """An exported file does not answer as the trained network does."""


class BudgetMissed(CheckFailed):
    """No candidate fits the latency or the size asked for; the message names the closest one."""


class NonFiniteLoss(CheckFailed):
    """Training met a NaN or an infinity; the message names the step and the files of the batch."""


class MissingRuntime(MobilenetsError):
    """A package or a device that is not here; the hint is its install line."""

    exit_code = 3

    @classmethod
    def extra(cls, what: str, extra: str) -> "MissingRuntime":
        """The error for a package that an extra of this library brings."""
        return cls(f"{what} is not installed", hint=f"pip install 'mobilenets[{extra}]'")
