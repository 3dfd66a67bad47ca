# Every target works on a fresh machine: the environment is made when it is missing or out of date.
.DEFAULT_GOAL := help
.PHONY: help demo notebooks test test-lowest check format install clean
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

demo: $(STAMP) ## train five heads x three seeds on drawn scenes, print their table and its verdict (5 minutes on two cores)
	$(BIN)/ocnet-train experiment=demo
	$(BIN)/ocnet-report outputs/demo

notebooks: $(STAMP) ## execute the notebooks on the demo's runs, in place
	$(BIN)/python notebooks/execute.py

test: $(STAMP) ## run all tests, slow ones too
	$(BIN)/pytest -n 2 --dist worksteal

# In an environment of its own; uv resolves the lowest versions, which pip cannot.
test-lowest: ## run all tests with Python 3.11 and the lowest versions that pyproject.toml admits (needs uv)
	uv venv --clear --python 3.11 .venv-lowest
	uv pip install --python .venv-lowest/bin/python --resolution lowest-direct --editable . --group dev
	.venv-lowest/bin/pytest -n 2 --dist worksteal

check: $(STAMP) ## lint, format check, strict types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(STAMP) ## make .venv with everything in it (uv when it is installed, else pip)

# `pip install --group` needs pip 25.1; the environment's own pip is brought there first.
$(STAMP): pyproject.toml constraints.txt
	@if command -v uv >/dev/null; then \
		test -x $(BIN)/python || uv venv --python $(PYTHON) .venv; \
		uv pip install --python $(BIN)/python --constraint constraints.txt --editable . --group dev; \
	else \
		test -x $(BIN)/python || $(PYTHON) -m venv .venv; \
		$(BIN)/python -m pip install --quiet 'pip>=25.1'; \
		$(BIN)/python -m pip install --constraint constraints.txt --editable . --group dev; \
	fi
	@touch $@

clean: ## remove the environment and all caches; outputs and data stay
	rm -rf .venv .venv-lowest .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
