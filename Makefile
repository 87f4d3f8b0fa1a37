# The commands people type. `make help` lists them.
.DEFAULT_GOAL := help

PYTHON ?= python3
QT_API ?= pyqt6
SETTINGS ?= quick
BIN := .venv/bin
STAMP := .venv/.installed
export PYTHON QT_API

.PHONY: help setup demo test lint bench bench-localization bench-speed bench-refine bench-teaching torture constraints system-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: system-check $(STAMP) ## install everything into .venv

demo: system-check $(STAMP) ## run the whole loop on a real image; pictures and files go to demo-output/
	$(BIN)/pixelcam demo --out demo-output

test: system-check $(STAMP) ## run the tests (QT_API=pyside6 for the other Qt binding)
	$(BIN)/pytest $(ARGS)

lint: $(STAMP) ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP) ## time each station of the loop on this machine
	$(BIN)/python -m benchmarks.stations

bench-localization: $(STAMP) ## reproduce the table of localization (SETTINGS=quick|full GLAS=FOLDER EBHI=FOLDER)
	$(BIN)/python -m benchmarks.localization --settings $(SETTINGS) \
		$(if $(GLAS),--glas "$(GLAS)") $(if $(EBHI),--ebhi "$(EBHI)") $(ARGS)

bench-speed: $(STAMP) ## time localization against the bare encoder and Grad-CAM++, and the parts of a training step
	$(BIN)/python -m benchmarks.speed $(ARGS)

bench-refine: $(STAMP) ## time what a reviewer waits for between a stroke and the new map
	$(BIN)/python -m benchmarks.refine $(ARGS)

bench-teaching: $(STAMP) ## what corrections on a few images bring to others (GLAS=FOLDER EBHI=FOLDER)
	$(BIN)/python -m benchmarks.teaching $(if $(GLAS),--glas "$(GLAS)") $(if $(EBHI),--ebhi "$(EBHI)") $(ARGS)

torture: $(STAMP) ## kill, cut, fill, damage and outlast it for hours; goes on where it was (ARGS=--part mutants ...)
	$(BIN)/python -m tests.reliability --results torture-output --table docs/reliability.md $(ARGS)

constraints: ## compile constraints.txt anew from pyproject.toml (ARGS=--upgrade for newer versions)
	tools/bootstrap.sh constraints $(ARGS)

system-check:
	@$(PYTHON) tools/system_check.py --install

$(STAMP): pyproject.toml constraints.txt tools/bootstrap.sh
	tools/bootstrap.sh
	@touch $@

clean: ## remove everything that was built or installed here
	rm -rf .venv .uv build dist demo-output bench-output torture-output .mypy_cache .pytest_cache .ruff_cache
