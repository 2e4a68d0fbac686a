"""Each source file by itself: its length, its header, its names, and the words and habits that may not be in it."""

import ast
import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "mobilenets"
FILES = {file: file.read_text() for file in sorted(PACKAGE.rglob("*.py"))}
ROOMS = sorted(file.parent.name for file in FILES if file.name == "__init__.py" and file.parent.parent == PACKAGE)

LONGEST_FILE, LONGEST_FUNCTION = 400, 50
REASONS = ("long", "lines", "in one piece")
VAGUE = {"utils", "helpers", "common", "misc"}
UNFINISHED = ("TODO", "FIXME", "XXX", "raise NotImplementedError", "for now", "placeholder")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Rule = Callable[[str, ast.Module], Iterator[str]]


def is_long_without_a_reason(source: str, tree: ast.Module) -> Iterator[str]:
    """Over 400 lines, or a function whose body has over 50, and no word of it in the header."""
    if any(reason in (ast.get_docstring(tree) or "").lower() for reason in REASONS):
        return
    if source.count("\n") > LONGEST_FILE:
        yield f"has {source.count(chr(10))} lines"
    for node in ast.walk(tree):
        if isinstance(node, Function) and body_lines(node) > LONGEST_FUNCTION:
            yield f"{node.name} has {body_lines(node)} lines"


def body_lines(function: Function) -> int:
    """Lines of a function without decorators, signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def opens_without_saying_what_it_holds(source: str, tree: ast.Module) -> Iterator[str]:
    if source.strip() and not ast.get_docstring(tree):
        yield "has no header"


def is_unfinished(source: str, tree: ast.Module) -> Iterator[str]:
    yield from (f"says {word!r}" for word in UNFINISHED if word in source)


def catches_everything_and_carries_on(source: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            everything = node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}
            if everything and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
                yield f"line {node.lineno} catches everything"


def hands_kwargs_on(source: str, tree: ast.Module) -> Iterator[str]:
    """A misspelt name must not travel: **kwargs may be looked at, not passed to another call."""
    for node in ast.walk(tree):
        if isinstance(node, Function) and node.args.kwarg is not None:
            passed = (
                k.value for call in ast.walk(node) if isinstance(call, ast.Call) for k in call.keywords if not k.arg
            )
            if any(isinstance(value, ast.Name) and value.id == node.args.kwarg.arg for value in passed):
                yield f"{node.name} hands **{node.args.kwarg.arg} on"


def prints(source: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield f"line {node.lineno} prints"


RULES: tuple[Rule, ...] = (
    is_long_without_a_reason,
    opens_without_saying_what_it_holds,
    is_unfinished,
    catches_everything_and_carries_on,
    hands_kwargs_on,
    prints,
)
# The outermost frame of the command line: whatever gets there is a bug, is written down, and ends the run.
EXEMPT = {(PACKAGE / "cli" / "app.py", catches_everything_and_carries_on)}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_file(rule: Rule) -> None:
    found = [
        f"{file.relative_to(PACKAGE)} {wrong}"
        for file, source in FILES.items()
        if (file, rule) not in EXEMPT
        for wrong in rule(source, ast.parse(source))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (is_long_without_a_reason, '"""Rows."""\n' + "a = 1\n" * 400),
        (is_long_without_a_reason, "def f():\n" + "    a = 1\n" * 51),
        (opens_without_saying_what_it_holds, "a = 1"),
        (is_unfinished, "a = 1  # TODO"),
        (catches_everything_and_carries_on, "try:\n    f()\nexcept Exception:\n    pass"),
        (hands_kwargs_on, "def f(**kwargs):\n    return g(1, **kwargs)"),
        (prints, "print(1)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_rule_sees(rule: Rule, source: str) -> None:
    assert list(rule(source, ast.parse(source)))


def test_names_of_files_say_what_they_hold() -> None:
    assert not {file.stem for file in FILES} & VAGUE


@pytest.mark.parametrize("name", ROOMS)
def test_every_name_a_room_offers_is_there_and_documented(name: str) -> None:
    module = importlib.import_module(f"mobilenets.{name}")
    assert module.__all__, "a room says what it offers"
    values = {public: getattr(module, public) for public in module.__all__}
    documented = {public for public, value in values.items() if inspect.isfunction(value) or inspect.isclass(value)}
    assert [public for public in documented if not values[public].__doc__] == []
    # A lazy function of a module's own name would be shadowed by the module on second use.
    inside = {entry.stem for entry in (PACKAGE / name).iterdir()}
    assert {public for public in values if inspect.isfunction(values[public])} & inside == set()
