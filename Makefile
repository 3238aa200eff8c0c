# Every target does all of its own set-up. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all bench bench-intake bench-volume bench-replay bench-deid \
  bench-results bench-delivery bench-models check clean

BIN := .venv/bin
# make demo STUDY=/path/to/a/DICOM/folder
STUDY ?=
# make test ARGS="-k geometry"
ARGS ?=

help:
	@echo "make demo          a real MR head through the whole node into a PACS; results in out/demo"
	@echo "make test          linters, types, import contracts and the tests (minutes)"
	@echo "make test-all      the same and the slow tests"
	@echo "make bench         how fast each part is, as a table"
	@echo "make bench-intake  the intake against other receivers, a line of JSON per figure (minutes)"
	@echo "make bench-replay  changed rules over 10,000 stored studies (a minute)"
	@echo "make bench-volume  series to volume against SimpleITK, a line of JSON per figure (a minute)"
	@echo "make bench-deid    exports against dicognito, a line of JSON (a minute)"
	@echo "make bench-results results against dcmqi, a line of JSON per figure (minutes)"
	@echo "make bench-delivery the sender against dcmsend, a line of JSON per figure (minutes)"
	@echo "make bench-models  chest_ct and brain_mr on a whole scan: seconds and memory (a minute)"
	@echo "make check         linters, types and import contracts only"
	@echo "make setup         the virtual environment only"
	@echo "make clean         remove what was built; the virtual environment too"

setup:
	@deploy/setup/venv.sh

demo: setup
	@deploy/setup/packages.sh bubblewrap orthanc mricron-data
	@$(BIN)/python -m deploy.demo.run $(if $(STUDY),--study "$(STUDY)")

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

test: check
	@deploy/setup/packages.sh bubblewrap orthanc orthanc-dicomweb dcmtk tesseract-ocr fonts-droid-fallback
ifeq ($(ARGS),)
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --ignore tests/acceptance
	$(BIN)/python -m pytest -m "not slow" tests/acceptance
else
	$(BIN)/python -m pytest -m "not slow" $(ARGS)
endif

test-all: check
	@deploy/setup/packages.sh bubblewrap orthanc dcmtk tesseract-ocr fonts-droid-fallback mricron-data libpixelmed-java libsaxonhe-java default-jre-headless
	@deploy/setup/packages.sh orthanc-dicomweb chromium
	@deploy/setup/viewer.sh
	$(BIN)/python -m pytest $(ARGS)

bench: setup
	@deploy/setup/packages.sh dcmtk
	$(BIN)/python -m tests.bench.run

# make bench-intake ARGS="--only fifty"
bench-intake:
	@>&2 deploy/setup/venv.sh
	@>&2 deploy/setup/packages.sh orthanc dcmtk
	@$(BIN)/python -m tests.bench.goals $(ARGS)

bench-replay:
	@>&2 deploy/setup/venv.sh
	@$(BIN)/python -m tests.bench.replay $(ARGS)

bench-deid:
	@>&2 deploy/setup/venv.sh
	@$(BIN)/python -m tests.bench.deid $(ARGS)

# make bench-results ARGS="--only labelmap"
bench-results:
	@>&2 deploy/setup/venv.sh
	@$(BIN)/python -m tests.bench.results $(ARGS)

# make bench-delivery ARGS="--only small"
bench-delivery:
	@>&2 deploy/setup/venv.sh
	@>&2 deploy/setup/packages.sh dcmtk
	@$(BIN)/python -m tests.bench.delivery $(ARGS)

# make bench-volume ARGS="--only native"
bench-volume:
	@>&2 deploy/setup/venv.sh
	@$(BIN)/python -m tests.bench.volume $(ARGS)

bench-models:
	@>&2 deploy/setup/venv.sh
	@>&2 deploy/setup/packages.sh mricron-data
	@$(BIN)/python -m tests.bench.models $(ARGS)

clean:
	rm -rf .venv out build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
