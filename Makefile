# One entry for people and for CI. `make help` lists the targets.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
ARGS ?=
SCENE ?=
# Compiled tests are kept for the next run, also where the environment says otherwise: compiling them takes seconds.
unexport PYTHONDONTWRITEBYTECODE
# Debian packages by the program that needs them. mariadb-server-core starts no service of its own.
RUN_PROGRAMS := mariadbd:mariadb-server-core mariadb:mariadb-client-core sysbench:sysbench sshd:openssh-server ss:iproute2 ps:procps
SCENE_PROGRAMS := $(RUN_PROGRAMS) bpftrace:bpftrace curl:curl gcc:gcc gdb:gdb javac:default-jdk-headless journalctl:systemd losetup:mount \
	mcs:mono-mcs node:nodejs perf:linux-perf tcpdump:tcpdump
TEST_PROGRAMS := $(SCENE_PROGRAMS) chromium:chromium bzip2:bzip2 pg_lsclusters:postgresql setcap:libcap2-bin sudo:sudo \
	wine:wine x86_64-w64-mingw32-gcc:gcc-mingw-w64-x86-64 xz:xz-utils zstd:zstd

.PHONY: help run test test-fast check scenes bench audit lock image clean system-run system-scenes system-test

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(INSTALLED) $(if $(SCENE),system-scenes,system-run) ## the playground: a local Slack with a real database to capture (ARGS=--once ends by itself, SCENE=NAME breaks something else)
	@$(if $(SCENE),$(BIN)/python -m tests.stage.show $(SCENE),$(BIN)/capturebot playground) $(ARGS)

test: $(INSTALLED) system-test ## all tests, those on real servers included
	@sh .ci/tests $(BIN)/pytest $(ARGS)

test-fast: $(INSTALLED) ## the tests that need no server and no patience
	@$(BIN)/pytest -q -n 2 --dist worksteal -m "not live and not thorough" --ignore=tests/live $(ARGS)

check: $(INSTALLED) ## style, types, recipes, Dockerfile
	@$(BIN)/ruff format --check --quiet . || { echo "Run '$(BIN)/ruff format .'"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/capturebot check
	@$(BIN)/hadolint Dockerfile

scenes: $(INSTALLED) system-scenes ## break real things and see whether the first line names them (ARGS=host-disk: those that begin so)
	@$(BIN)/python -m tests.scenes $(ARGS)

bench: $(INSTALLED) system-run ## speed and memory, as ratios against named peers in the same run
	@$(BIN)/python -m tests.bench $(ARGS)

audit: $(INSTALLED) ## known vulnerabilities among the pinned dependencies
	@sh .ci/audit $(BIN)/pip-audit requirements.lock requirements-dev.lock

lock: $(INSTALLED) ## pin every dependency again, with hashes
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --extra playground --extra dev pyproject.toml -o requirements-dev.lock

image: ## the container image, where there is a Docker engine
	docker build -t capturebot .

clean: ## remove what the targets above made
	rm -rf .venv .venv-bench build dist *.egg-info .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "Install the venv module: apt-get install python3-venv"; exit 1; }

$(INSTALLED): requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "Installing the dependencies (pinned by hash) …"
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

system-run:
	@sh .ci/packages $(RUN_PROGRAMS)

system-scenes:
	@sh .ci/packages $(SCENE_PROGRAMS)

system-test:
	@sh .ci/packages $(TEST_PROGRAMS)
