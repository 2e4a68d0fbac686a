# Two commands set everything up: `make demo` and `make test`. Both can be run again at no cost.

SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest

.PHONY: help demo install install-dev test test-all test-slow check format docs wheel clean

help:
	@echo "make demo      install into $(VENV), then train, export and verify on handwritten digits"
	@echo "make test      the default tests"
	@echo "make test-all  every test, the slow ones and those against other libraries too"
	@echo "make check     format, lint, types, house tests: what CI runs"
	@echo "make format    let the formatter write"
	@echo "make docs      write the generated parts of README.md and docs/ again"

demo: install
	@rm -rf runs/digits
	$(BIN)/mobilenets fit digits -o runs/digits
	@echo "open runs/digits/report.html"

install: $(VENV)/.train
install-dev: $(VENV)/.dev

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "no python3.11 here; say which: make demo PYTHON=/path/to/python"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11; say which: make demo PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.train: pyproject.toml constraints.txt | $(VENV)/.python
	@echo "installing mobilenets[train] into $(VENV) (PyTorch is large: minutes)"
	@$(PIP) --editable '.[train]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.train
	@echo "installing mobilenets[dev] into $(VENV)"
	@$(PIP) --editable '.[dev]'
	@touch $@

test: install-dev
	$(PYTEST)

test-slow: install-dev
	$(PYTEST) -m "(slow or peer) and not gpu"

test-all: install-dev
	$(PYTEST) -m "not gpu"

check: install-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) tests/house

format: install-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: install-dev
	$(BIN)/python docs/generate.py

wheel: install-dev
	$(BIN)/python -m pip wheel -qq --no-deps --wheel-dir dist .

clean:
	rm -rf runs/digits dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
