# Everything runs in $(VENV), made from the hashed locks in requirements/. No root, no compiler.
#
#   make demo                      see it work
#   make test                      run all tests
#   make check                     what CI runs: lint, types, contracts, sizes, tests
#   make help                      all targets
#
# PYTHON=python3.13 VENV=.venv313 choose another interpreter and another folder.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PYTHON VENV
# Images for containers often set it. A test run starts hundreds of processes, and each would compile
# all modules again.
export PYTHONDONTWRITEBYTECODE :=

# Test processes: one more than two cores have, for many tests wait for processes of their own. Each
# begins with its share of the tests in their order, so that peers which a file shares are mostly started
# once, and then takes from the others. PYTEST_ARGS passes anything else to pytest.
WORKERS ?= 3
PYTEST_ARGS ?=

GROUND := tools/venv.sh requirements/build.lock pyproject.toml setup.py

.DELETE_ON_ERROR:
.PHONY: help venv dev demo test crash interop bench check lint types lock reference threats fuzz clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' Makefile

# A stamp is newer than its inputs only after a whole, successful installation.
$(VENV)/.fogp2p-run: $(GROUND) requirements/run.lock
	@sh tools/venv.sh run
	@touch $@

$(VENV)/.fogp2p-dev: $(GROUND) requirements/dev.lock
	@sh tools/venv.sh dev
	@touch $@ $(VENV)/.fogp2p-run

venv: $(VENV)/.fogp2p-run  ## what a peer needs, in $(VENV)

dev: $(VENV)/.fogp2p-dev  ## and the tools for tests and lint

demo: $(VENV)/.fogp2p-run  ## five peers on this machine find each other, talk, and survive a crash
	@$(BIN)/fogp2p demo $(DEMO_ARGS)

test: $(VENV)/.fogp2p-dev  ## run all tests
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

KILLS ?= 300
CRASH := $(addprefix tests/process/test_,$(addsuffix .py,killpoints backup \
	blob_crash group_crash invite_crash keystore_crash registry_crash))
crash: $(VENV)/.fogp2p-dev  ## KILLS=300: kill -9 a writing store so often, and every kill point once
	STORE_KILLS=$(KILLS) $(BIN)/python -m pytest -q -s tests/process/test_store_crash.py $(CRASH)

# A missing toolchain is skipped by name (interop/build.sh); RESULTS.md is written in any case.
interop: $(VENV)/.fogp2p-dev  ## build js- and go-libp2p peers, talk to them, write interop/RESULTS.md
	sh interop/build.sh
	@mkdir -p build
	@status=0; $(BIN)/python -m pytest -q tests/interop --junitxml=build/interop.xml $(PYTEST_ARGS) || status=1; \
		$(BIN)/python interop/results.py build/interop.xml > build/RESULTS.md || status=1; \
		mv build/RESULTS.md interop/RESULTS.md; exit $$status

BENCH ?= $(sort wire $(filter-out report gossip_load,$(basename $(notdir $(wildcard benchmarks/[a-z]*.py)))))
bench: $(VENV)/.fogp2p-dev  ## all figures, into benchmarks/results (about a quarter of an hour)
	@set -e; for name in $(BENCH); do echo "benchmarks.$$name"; \
		$(BIN)/python -m benchmarks.$$name > benchmarks/results/$$name.json.new; \
		mv benchmarks/results/$$name.json.new benchmarks/results/$$name.json; done

lint: $(VENV)/.fogp2p-dev  ## style, types, import contracts, sizes, specs, threats
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_sizes.py
	$(if $(wildcard tools/check_specs.py),$(BIN)/python tools/check_specs.py)
	$(BIN)/python tools/check_threats.py
	$(BIN)/python tools/write_reference.py --check
	$(BIN)/python tools/draw.py --check

check: lint test  ## what CI runs

reference: $(VENV)/.fogp2p-dev  ## write docs/reference/{api,cli,config,errors}.md from the program
	$(BIN)/python tools/write_reference.py
	$(BIN)/python tools/draw.py

threats: $(VENV)/.fogp2p-dev  ## write the test column of docs/threats.md from the tests' markers
	$(BIN)/python tools/check_threats.py --write

lock:  ## write requirements/*.lock again (needs uv)
	sh tools/lock.sh

TARGET ?= codec
SECONDS ?= 60
# atheris is no part of the locks: it is heavy, has wheels for Python 3.12 and 3.13 only, and CI runs
# the same invariants with hypothesis. On 3.11: make PYTHON=python3.13 VENV=.venv313 fuzz
fuzz: $(VENV)/.fogp2p-dev  ## TARGET=codec SECONDS=60: run one fuzz target with atheris
	@$(BIN)/python -c 'import atheris' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --only-binary :all: 'atheris>=3.1'
	@mkdir -p tests/fuzz/corpus/$(TARGET)
	$(BIN)/python tests/fuzz/fuzz_$(TARGET).py -max_total_time=$(SECONDS) tests/fuzz/corpus/$(TARGET)

clean:  ## delete $(VENV) and every cache
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache interop/go/bin interop/js/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
