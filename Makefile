# Every command of this project. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
T ?= tests

# Where it is set (many container images), every start compiles all sources anew: seconds for a server, half a minute for the tests.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test check bench eval test-system lock fmt clean

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## set everything up and serve the main job with demo data (ARGS="--no-demo", …)
	@exec $(BIN)/aliquot serve $(ARGS)

test: $(VENV)/.dev ## set everything up and run the tests (T=path narrows them)
	@$(BIN)/python -m pytest -n $${PYTEST_WORKERS:-2} --dist worksteal $(T) $(ARGS)

check: $(VENV)/.dev ## lint, types, import rules, migrations match the tables
	@$(BIN)/python tools/check.py

bench: $(VENV)/.dev ## measure the budgets of the design, write docs/benchmarks.md
	@$(BIN)/python -m benchmarks $(ARGS)

eval: $(VENV)/.dev ## measure quality on real data (DATA=../shared/data), write docs/evals.md
	@$(BIN)/python -m evals $(DATA) $(ARGS)

test-system: $(VENV)/.dev ## tests that need root, system packages or npm (nginx, clamd, Chromium, foreign clients)
	@$(BIN)/python -m pytest -n 0 -rs tests_system $(ARGS)

fmt: $(VENV)/.dev ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lock: $(VENV)/.build ## resolve the dependencies anew into requirements/*.txt
	@tools/lock

clean: ## remove the virtual environment and caches (never data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

# One stamp per level of set-up: build tools, what serving needs, what developing needs.
$(VENV)/.build: requirements/build.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Aliquot needs Python 3.11 or newer")'
	@echo 'Setting up $(VENV): a minute or more, with no further word.'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	@touch $@

$(VENV)/.run: $(VENV)/.build requirements/run.txt pyproject.toml
	@test -e $(VENV)/.dev || $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/run.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.build requirements/dev.txt pyproject.toml
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.run
