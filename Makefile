# Needs Python 3.11 or newer and make; everything else comes into .venv.
#
#   make demo      record an example agent (offline), say what went wrong in its run, and show it
#   make test      run the tests, on every core; ARGS="tests/cli -k traces" picks some
#   make check     lint, types, imports, package
#   make collector       build the OpenTelemetry Collector for collector-config.yaml, outside the checkout; needs Go
#   make collector-full  the same for all files in collector/
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := $(CURDIR)/build/demo
ARGS ?= -n auto --dist loadfile

.PHONY: demo test lint types imports package check clean collector collector-full

demo: $(STAMP)
	@rm -rf $(DEMO)
	@echo '$$ nexus-instrument python examples/anthropic_agent.py'
	@$(OFFLINE) PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/nexus-instrument python examples/anthropic_agent.py
	@echo '$$ nexus-otel diagnose'
	@$(OFFLINE) $(BIN)/nexus-otel diagnose
	@echo
	@echo '$$ nexus-otel show last'
	@$(OFFLINE) $(BIN)/nexus-otel show last

# nothing of the person's own configuration: no account, no collector, a store of its own
OFFLINE := env -u ANTHROPIC_API_KEY -u ANTHROPIC_BASE_URL -u OTEL_EXPORTER_OTLP_ENDPOINT \
	-u OTEL_EXPORTER_OTLP_TRACES_ENDPOINT NEXUS_HOME="$(DEMO)"

test: $(STAMP)
	$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

# the wheel as a user gets it: built, installed into an empty environment, imported, run
package: $(STAMP)
	@rm -rf build/wheel build/package
	$(BIN)/python -m pip wheel -q --no-deps --wheel-dir build/wheel .
	$(BIN)/python -m venv --without-pip build/package
	$(call install,build/package,build/wheel/*.whl -c requirements/dev.txt)
	cd build/package && bin/python -c 'import nexus_otel; print(nexus_otel.__file__)'
	build/package/bin/nexus-otel --version
	cd build/package && bin/nexus-instrument bin/python -c 'import sitecustomize; print(sitecustomize.__file__)'

check: lint types imports package

collector:
	@collector/build.sh manifest.yaml

collector-full:
	@collector/build.sh manifest-full.yaml

clean:
	rm -rf $(VENV) build dist

# -- the environment ----------------------------------------------------------

# $(call install,ENVIRONMENT,WHAT): by uv, which is much faster, else by pip
install = if [ -x $(BIN)/uv ]; then $(BIN)/uv pip install -q --python $(1)/bin/python $(2); \
	else $(BIN)/python -m pip --python $(1)/bin/python install -q $(2); fi

$(STAMP): pyproject.toml Makefile $(wildcard requirements/*.txt)
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -q uv || echo "make: uv cannot be installed; pip is used" >&2
	@$(call install,$(VENV),-r requirements/dev.txt -e .)
	@touch $@
