# Debian's psycopg belongs to Debian's python3, which need not be the first on PATH.
PYTHON ?= $(or $(wildcard /usr/bin/python3),python3)
STAGE := build/stage
VENV := build/venv
# PG_CONFIG=/path/to/pg_config chooses the PostgreSQL; see tools/postgres.py for the default.
export PG_CONFIG
# pytest's, psql's: make test ARGS='-k search'
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help all deps build install uninstall up down dsn psql demo test test-containers container-tools lint lint-tools bench bench-tools reference dist clean

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 17

deps: ## install the Debian packages that are missing
	@$(PYTHON) -m tools.deps --for demo

# What PGXN's client asks for first.
all: build

build: ## build the extension into build/stage
	@$(PYTHON) -m extension.build --out $(STAGE)

install: build ## install the extension (DESTDIR is honoured)
	@sharedir=$$($(PYTHON) -m tools.postgres sharedir) && cd $(STAGE) && \
	  find ".$$sharedir" -type f -exec install -D -m 644 '{}' '$(if $(DESTDIR),$(abspath $(DESTDIR)))/{}' ';'

uninstall: ## remove every version of the extension's files (DESTDIR is honoured)
	@sharedir=$$($(PYTHON) -m tools.postgres sharedir) && cd '$(if $(DESTDIR),$(abspath $(DESTDIR)))/'"$$sharedir/extension" && \
	  rm -rf guestcomms.control guestcomms--*.sql guestcomms-[0-9]*

up: deps build ## start a temporary cluster with a store and the demo's messages
	@$(PYTHON) -m tools.demo

down: ## stop it; its data stays
	@$(PYTHON) -m tools.cluster down

dsn: ## print its connection string
	@$(PYTHON) -m tools.cluster dsn

psql: ## open it in psql
	@$(PYTHON) -m tools.cluster psql -- $(ARGS)

demo: deps build ## show what the store does
	@$(PYTHON) -m tools.demo --show

# Without ARGS: lint first, and measure what the tests cover.
test: COVERAGE = $(shell $(PYTHON) -c 'import coverage' 2>/dev/null && echo -m coverage run)
test: ## lint, and run the tests (ARGS are pytest's) measuring what they cover
	@$(PYTHON) -m tools.deps --for test
	@$(MAKE) --no-print-directory build
	@$(if $(ARGS),,$(PYTHON) -m tools.lint)
	@$(PYTHON) $(if $(ARGS),,$(COVERAGE)) -m pytest $(or $(ARGS),tests)

# Read by tests/container: the image to build on, its PostgreSQL, options for apt inside.
export BASE PG_MAJOR APT_OPTIONS
test-containers: ## run tests/container, and the integration tests, against a container (needs Docker)
	@for python in $(PYTHON) $(VENV)/bin/python; do \
	  if $$python -c 'import testcontainers' 2>/dev/null; then \
	    exec $$python -m pytest --noconftest -p tests.container.fixtures $(or $(ARGS),tests/container tests/integration); \
	  fi; \
	done; echo 'test-containers: needs testcontainers, which `make container-tools` fetches from PyPI' >&2; exit 1

container-tools: ## fetch testcontainers from PyPI into build/venv
	@$(PYTHON) -m venv --system-site-packages $(VENV)
	@$(VENV)/bin/python -m pip install --quiet testcontainers==4.15.0

lint: ## check the sources: ruff, mypy, pgspot where they are, else what Debian has
	@$(PYTHON) -m tools.lint

lint-tools: ## fetch ruff, mypy and pgspot from PyPI into build/venv
	@$(PYTHON) -m tools.lint --fetch

# build/venv's Python, where there is one, sees the peers that bench-tools fetched.
bench: BENCH_PYTHON = $(or $(wildcard $(VENV)/bin/python),$(PYTHON))
bench: deps build ## run the benchmarks and write docs/reference/benchmarks.md
	@mkdir -p build/bench
	@set -e; for file in $$(grep -l "Report(" bench/*.py); do \
	  name=$$(basename $$file .py); $(BENCH_PYTHON) -m bench.$$name --json build/bench/$$name.json; \
	done
	@$(PYTHON) -m tools.bench_report build/bench

bench-tools: ## fetch the engines that benchmarks compare with from PyPI into build/venv
	@$(PYTHON) -m venv --system-site-packages $(VENV)
	@$(VENV)/bin/python -m pip install --quiet $$($(PYTHON) -c \
	  'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"])')

reference: up ## write docs/reference from the catalog of the running store
	@$(PYTHON) -m tools.reference "$$($(PYTHON) -m tools.cluster dsn)"

dist: ## make a zip of the last commit in build/
	@mkdir -p build
	@version=$$(sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" extension/guestcomms.control) && \
	  git archive --format=zip --prefix=guestcomms-$$version/ -o build/guestcomms-$$version.zip HEAD && \
	  echo build/guestcomms-$$version.zip

clean: ## remove the cluster and everything built; what was fetched from PyPI stays
	@$(PYTHON) -m tools.cluster destroy
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name venv -exec rm -rf '{}' +
