# Two commands set everything up: `make demo` and `make test`. Both can be run again at no cost.

SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt
# One process a core and one thread in each: half the time of one process with all threads.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadscope

.PHONY: help demo install install-dev test test-all test-slow test-executorch check format docs wheel clean

help:
	@echo "make demo      install into $(VENV), then train, export and verify on handwritten digits"
	@echo "make test      the default tests"
	@echo "make test-all  every test, the slow ones and those against other libraries too"
	@echo "make test-executorch  ExecuTorch and Core ML, in an environment of their own"
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

test-executorch: .venv-executorch/.done
	OMP_NUM_THREADS=1 .venv-executorch/bin/python -m pytest -m "not gpu" tests/deploy/test_executorch.py tests/deploy/test_coreml.py
	OMP_NUM_THREADS=1 .venv-executorch/bin/python -m pytest tests/deploy/test_targets.py -k "executorch or coreml"

# The pins of constraints.txt, but for the packages that constraints-executorch.txt pins otherwise.
.venv-executorch/.done: pyproject.toml constraints.txt constraints-executorch.txt | $(VENV)/.python
	@test -x .venv-executorch/bin/python || $(BIN)/python -m venv .venv-executorch
	@sed -n 's/^\([A-Za-z][^=]*==\).*/^\1/p' constraints-executorch.txt | grep -vif - constraints.txt > .venv-executorch/constraints.txt
	@cat constraints-executorch.txt >> .venv-executorch/constraints.txt
	@echo "installing mobilenets[train,executorch,coreml] into .venv-executorch (PyTorch is large: minutes)"
	@.venv-executorch/bin/python -m pip install -qq --disable-pip-version-check --constraint .venv-executorch/constraints.txt --editable '.[train,executorch,coreml]' pytest
	@touch $@

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
