# Everything runs in .venv, which `make setup` builds from the lock files (names, versions, hashes).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
LOCK   := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.PHONY: setup setup-dev peers demo test check format soak acceptance torture bench lock clean

setup: $(VENV)/.run
setup-dev: $(VENV)/.dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "The collector needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)."; \
	  echo "Debian/Ubuntu: sudo apt install python3 python3-venv    then: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "This Python has no venv or pip. Debian/Ubuntu: sudo apt install python3-venv python3-pip"; \
	  echo "Fedora: sudo dnf install python3-pip    then run make again."; exit 1; }
	@echo "Setting up $(VENV) (once; takes a minute)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python locks/run.txt pyproject.toml
	@test -f $(VENV)/.dev || $(BIN)/python -m pip install --quiet --require-hashes -r locks/run.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python locks/dev.txt pyproject.toml
	@$(BIN)/python -m pip install --quiet --require-hashes -r locks/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.run

# Servers and brokers of other people, for tests/peers: in environments of their own, never in .venv.
peers: .peers/venv/.done .peers/node/.done

.peers/venv/.done: tests/peers/requirements.txt
	@$(PYTHON) -m venv .peers/venv
	@.peers/venv/bin/python -m pip install --quiet --require-hashes -r $<
	@touch $@

.peers/node/.done: tests/peers/package-lock.json
	@command -v npm >/dev/null || { echo "The npm peers need Node.js 18 or newer and npm. Debian/Ubuntu: sudo apt install nodejs npm"; exit 1; }
	@mkdir -p .peers/node && cp tests/peers/package.json tests/peers/package-lock.json .peers/node/
	@cd .peers/node && npm ci --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error
	@touch $@

demo: setup
	@$(BIN)/collector demo $(ARGS)

test: setup-dev
	$(BIN)/python -m pytest -n auto $(ARGS)

check: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Hours of a workshop, compressed: ARGS="--minutes 60". A table of memory, descriptors and files; fails beyond its limits.
soak: setup-dev
	$(BIN)/python -m tests.soak $(ARGS)

# The long forms of the shortened tests (tests/README.md); takes hours. SEED=… draws other moments, ARGS="-k kill" a part.
torture: setup-dev
	KILLS=1000 JOURNAL_KILLS=1000 JOURNAL_SYSCALLS=1 JOURNAL_FLIPS=1 JOURNAL_CRASH_STATES=100000 JOURNAL_EXAMPLES=2000 \
	DERIVE_KILLS=200 DERIVE_LINE_KILLS=100 INFLUX_OUTAGE_VALUES=10000000 SHOPFLOOR_LONG=1 \
	$(BIN)/python -m pytest -n auto --timeout=7200 tests/journal tests/derive tests/influxdb tests/line tests/collector tests/opcua/rows tests/seeded $(ARGS)
	$(BIN)/collector selftest --for 10min

# Ten minutes of a workshop with every fault, on all faces, beside the collector: ARGS="--minutes 2". Every value is stored, or explained by a gap record.
acceptance: setup-dev
	$(BIN)/python -m tests.acceptance $(ARGS)

bench: setup-dev
	$(BIN)/python -m benchmarks $(ARGS)

# Locks hold names, versions and hashes only: no addresses, so that any mirror serves them.
lock:
	uv pip compile $(LOCK) -o locks/run.txt pyproject.toml locks/build.in
	uv pip compile $(LOCK) --extra dev -o locks/dev.txt pyproject.toml locks/build.in
	uv pip compile $(LOCK) -o tests/peers/requirements.txt tests/peers/requirements.in
	cd tests/peers && npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error
	cd tests/peers && node -e 'const fs = require("fs"), f = "package-lock.json", lock = JSON.parse(fs.readFileSync(f)); for (const p of Object.values(lock.packages)) delete p.funding; fs.writeFileSync(f, JSON.stringify(lock, null, 2) + "\n")'

clean:
	rm -rf $(VENV) .peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
