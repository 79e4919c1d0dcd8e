# The whole interface: what people type is what CI types. `make` alone lists the words.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# Stamps carry a digest of what was installed and where, so a pull that leaves pyproject.toml alone installs nothing.
KEY := $(shell { pwd; cat pyproject.toml; } | sha256sum | cut -c1-16)
PACKAGE := $(VENV)/.package-$(KEY)
TOOLS := $(VENV)/.tools-$(KEY)
# Where the environment forbids compiled files, each of the many processes of a run would compile Leasebox anew: 0.2 to 0.4 s.
unexport PYTHONDONTWRITEBYTECODE
# More for pytest or for what is run: make test ARGS='-k sweep'
ARGS ?=
# Many tests wait for timers of the protocol; a file stays in one process, so that its live stack is shared. In the
# order of the tree: acceptance and chaos come first, so that no long file is left for the end (BEGUN_FIRST of conftest).
PARALLEL := -n 5 --dist loadfile --no-loadscope-reorder
# Of the long ones, these mostly wait for timers; rounds of chaos name a group, so that one plays at a time.
WAITING := tests/acceptance tests/chaos

.PHONY: help run test test-slow lint bench bench-smoke chaos docs up down
help: ## list the words
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 18

run: $(PACKAGE) ## set up, then run the example on the embedded stack
	ops/dev/run-example.sh $(BIN) $(ARGS)

test: $(TOOLS) ## set up and start what the tests need, then run them
	ops/dev/services.sh start
	$(BIN)/pytest $(PARALLEL) $(ARGS)

test-slow: $(TOOLS) ## the tests with real timers, all images, a browser and long chaos
	ops/dev/services.sh start
	ops/dev/browser.sh $(VENV)
	$(BIN)/pytest -n 3 --dist loadgroup -m long $(WAITING) $(ARGS)
	$(BIN)/pytest -m long tests $(WAITING:%=--ignore %) $(ARGS)

lint: $(TOOLS) ## style, format, types and the directions of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(TOOLS) ## measure and write docs/benchmarks.md; ARGS=--many plays 20,000 jobs instead
	$(BIN)/python tests/bench/run.py $(ARGS)

bench-smoke: $(TOOLS) ## run a little of each part of the benchmark, to see that it runs
	$(BIN)/python tests/bench/run.py --smoke $(ARGS)

chaos: $(TOOLS) ## kill things at random under load; ARGS='--seed N -k short' plays a round again
	ops/dev/services.sh start
	$(BIN)/pytest -s -m '' tests/chaos $(ARGS)

docs: $(PACKAGE) ## write the reference from the code, and build docs/ as a site in site/
	ops/dev/venv.sh $(VENV) --group docs
	$(BIN)/python ops/dev/settings_page.py
	$(BIN)/python ops/dev/reference_pages.py
	$(BIN)/python ops/dev/docs_site.py --strict

up: $(PACKAGE) ## keep the embedded stack in the foreground
	$(BIN)/leasebox up $(ARGS)

down: $(PACKAGE) ## end the embedded stack and the services that `make test` started
	$(BIN)/leasebox down
	ops/dev/services.sh stop

$(PACKAGE):
	ops/dev/venv.sh $(VENV) --editable '.[embedded,server]'
	@rm -f $(VENV)/.package-*
	@touch $@

$(TOOLS): $(PACKAGE)
	ops/dev/venv.sh $(VENV) --group dev
	@rm -f $(VENV)/.tools-*
	@touch $@
