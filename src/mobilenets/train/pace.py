"""How fast a run goes, and the plan of steps that fits its minutes.

The rule by which a run in minutes is replanned, in one place: after every fiftieth of its steps (`CHECKS`) the time
that is left is compared with what the remaining steps, evaluations and the closing work will take at the measured
rate; where they differ by more than 1 % of the minutes (`SLACK`), the steps that remain are laid out anew to end in
time. A machine that slows down so shortens the run, and the learning rate still ends at the end of its curve.
"""

from dataclasses import dataclass, field

from .plan import Plan

CHECKS = 50
SLACK = 0.01
EVALUATION_SHARE = 0.05
"""Evaluations take at most this share of a run in minutes: with small data not every epoch is worth one."""
MEMORY = 0.2
"""Weight of the newest window of steps in the running rate."""


@dataclass(slots=True)
class Pace:
    """Measured seconds: of a step per turn of the training side, of one evaluation, of the work after the last one."""

    step_s: list[float]  # one per turn of Recipe.side_ratios
    evaluation_s: float = 0.0
    closing_s: float = 0.0
    _window: list[float] = field(default_factory=list)
    _windows: int = 0

    def observe(self, turn: int, seconds: float) -> None:
        """One more step of `turn` took `seconds`. The rates of the turns to come move in proportion."""
        self._window.append(seconds / self.step_s[turn])
        if sum(self._window) * self.step_s[turn] >= 1.0 or len(self._window) >= 20:
            drift = sum(self._window) / len(self._window)
            self._windows += 1
            weight = max(MEMORY, 1.0 / self._windows)  # the first window replaces what was guessed before
            self.step_s = [old * (1.0 + weight * (drift - 1.0)) for old in self.step_s]
            self._window.clear()

    def observe_evaluation(self, seconds: float) -> None:
        """One more evaluation, with all that is written then, took `seconds`."""
        self.evaluation_s += 0.5 * (seconds - self.evaluation_s)

    def mean_step_s(self, progress: float) -> float:
        """Mean seconds of the steps that remain from `progress` on."""
        turns = len(self.step_s)
        weights = [max(0.0, (turn + 1) / turns - max(progress, turn / turns)) for turn in range(turns)]
        total = sum(weights)
        if total <= 0:
            return self.step_s[-1]
        return sum(w * s for w, s in zip(weights, self.step_s, strict=True)) / total

    def steps_in(self, seconds: float, plan: Plan, *, progress: float) -> int:
        """How many steps, with their evaluations and the closing work, fit `seconds`; at least 1."""
        per_step = self.mean_step_s(progress) + self.evaluation_s / (plan.steps_per_epoch * plan.evaluate_every)
        return max(1, int((seconds - self.closing_s - self.evaluation_s) / per_step))

    def evaluate_every(self, steps_per_epoch: int) -> int:
        """Epochs between evaluations, so that these take no more than their share."""
        epoch_s = steps_per_epoch * self.mean_step_s(0.0)
        return max(1, -(-int(1000 * self.evaluation_s) // max(1, int(1000 * EVALUATION_SHARE * epoch_s))))

    def seconds_left(self, plan: Plan, step: int) -> float:
        """What remains of the run after `step` steps will take, all told."""
        steps = plan.steps - step
        evaluations = 1 + steps // (plan.steps_per_epoch * plan.evaluate_every)
        return steps * self.mean_step_s(plan.progress(step)) + evaluations * self.evaluation_s + self.closing_s


def replanned(plan: Plan, pace: Pace, *, step: int, minutes: float, elapsed_s: float) -> Plan:
    """`plan`, or by the rule above another one for the steps that remain after `step`."""
    if step >= plan.steps:
        return plan
    left = 60.0 * minutes - elapsed_s
    if abs(pace.seconds_left(plan, step) - left) <= SLACK * 60.0 * minutes:
        return plan
    return plan.replanned(step, step + pace.steps_in(left, plan, progress=plan.progress(step)))


def check_due(plan: Plan, step: int) -> bool:
    """Whether the rule looks at the clock after `step` steps."""
    return step % max(1, plan.steps // CHECKS) == 0
