# Bitácora. `make demo` and `make test` are all a newcomer needs; each sets up what it uses.
PYTHON ?= python3.11
SEED ?= 1
VENV := .venv
BIN := $(VENV)/bin
UV := 0.13.9
VERSITYGW := github.com/versity/versitygw/cmd/versitygw@v1.8.0

export PATH := $(CURDIR)/$(BIN):$(CURDIR)/.tools/bin:$(PATH)
export PYTHONUNBUFFERED := 1
# Imports are recompiled at every start where the machine switches bytecode off; the heavy ones then take seconds more.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test nightly check bench peers up down lock tools clean

help: ## what can be done here
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: setup ## set up and run the main job, embedded and offline; exit 0 only if the whole chain held
	@$(BIN)/bitacora demo --seed $(SEED)

test: setup tools ## set up and run the tests
	@$(BIN)/python -m pytest

nightly: setup tools ## the long reliability lane: every crash point, every seed (RELIABILITY's counts)
	@$(BIN)/python -m pytest -m nightly

check: setup ## lint, types, imports, tree, the catalogue page
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@MYPYPATH=plugins $(BIN)/mypy -p bitacora_airflow
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q tests/test_tree.py tests/lake/test_catalogue.py

up: setup ## the platform, running until `make down`; prints its addresses
	@$(BIN)/bitacora up --seed $(SEED)

down: ## stop what `make up` started
	@$(BIN)/bitacora down

bench: setup peers ## benchmarks against peers: ratios, minimum/median/maximum
	@$(BIN)/python bench/features.py
	@$(BIN)/python bench/views.py
	@$(BIN)/python bench/join.py
	@$(BIN)/python bench/join_feast.py
	@$(BIN)/python bench/join_spark.py
	@$(BIN)/python bench/features_spark.py
	@$(BIN)/python bench/lake_read.py
	@$(BIN)/python bench/lake_write.py
	@$(BIN)/python bench/backtest.py
	@$(BIN)/python bench/l2_backtest.py
	@$(BIN)/python bench/matching.py
	@$(BIN)/python bench/env.py
	@$(BIN)/python bench/load.py
	@$(BIN)/python bench/text.py

peers: .tools/peers/.ready .tools/peers_feast/.ready ## the libraries the benchmarks compare with, in environments of their own

.tools/%/.ready: bench/%.txt $(VENV)/.ready
	@echo "setting up .tools/$* from bench/$*.txt"
	@$(BIN)/uv venv --quiet --clear --python $(PYTHON) .tools/$*
	@$(BIN)/uv pip install --quiet --no-deps --python .tools/$*/bin/python --requirement bench/$*.txt
	@touch $@

setup: $(VENV)/.ready
	@$(MAKE) --silent --jobs 2 .tools/jars/.ready .tools/kernels/.ready

$(VENV)/.ready: requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found: Bitácora needs Python 3.11 (set PYTHON=…)" >&2; exit 78; }
	@command -v java >/dev/null || { echo "error: java not found: Spark needs a JDK 17 (Debian: apt-get install openjdk-17-jdk-headless)" >&2; exit 78; }
	@echo "setting up .venv from requirements.txt (hash-locked)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.txt
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $@

.tools/jars/.ready: $(VENV)/.ready lake/jars.py $(wildcard lake/java/*.java)
	@$(BIN)/python -m lake.jars
	@touch $@

# The market's compiled functions: about a minute of one core, once; a cold exchange would make its first client wait.
.tools/kernels/.ready: $(VENV)/.ready $(wildcard market/*.py)
	@mkdir -p $(@D)
	@echo "compiling the market's kernels where they changed (up to a minute)"
	@$(BIN)/python -m market.kernel
	@touch $@

tools: .tools/bin/versitygw ## the S3 server the tests use (needs Go; without it those tests skip with the reason)

.tools/bin/versitygw:
	@mkdir -p .tools/bin
	@if command -v go >/dev/null; then echo "building the test S3 server"; GOBIN=$(CURDIR)/.tools/bin go install $(VERSITYGW); \
	else echo "go not found: tests marked s3 will be skipped"; fi

lock: ## compile pyproject.toml into requirements.txt
	@$(BIN)/uv pip compile pyproject.toml --all-extras --generate-hashes --no-emit-index-url --no-header \
	  --python-version 3.11 --quiet --output-file requirements.txt

clean: ## remove what runs left behind (var); keeps .venv and .tools
	@rm -rf var
