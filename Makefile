# `make demo` trains a first model, `make test` runs the tests. Both build .venv on first use and reuse it afterwards.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN     = $(VENV)/bin
PIP     = $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
SOURCES = $(shell find src -name '*.py')
ZOO     = $(wildcard packages/zoo/pyproject.toml packages/zoo/genzoo_zoo/*/*)
QUICK   = tests/core tests/naming tests/saved tests/losses tests/metrics tests/data tests/studies/test_studies.py tests/use/test_compress.py tests/use/test_compressed_files.py tests/test_api.py
# One process for each core, four at most (each takes up to 2 GB); a file's tests stay together, for they share what they made.
SIDE_BY_SIDE = -n logical --maxprocesses=4 --dist loadfile
# An environment made for the tests (editable, with the tools) serves the demo as well; never the other way round.
READY   = $(if $(wildcard $(VENV)/dev.stamp),$(VENV)/dev.stamp,$(VENV)/core.stamp)

.PHONY: help demo study test slow lowest lint format bench docs site clean

help:
	@echo "make demo    install into $(VENV), draw a page of trained models, train a first one on handwritten digits, draw samples and a walk (minutes)"
	@echo "make study   two systems, two seeds, one table and page of both (minutes)"
	@echo "make test    install with the development tools and run the tests"
	@echo "make lint    ruff, mypy, tsc        make format  ruff, writing"
	@echo "make slow    the long fault-injection tests"
	@echo "make lowest  a quick part of the tests with the lower bounds of all dependencies, in $(VENV)-lowest"
	@echo "make bench   speed, as ratios; base=REV: side by side with a revision, only=sampling: one benchmark"
	@echo "make docs    the generated tables"
	@echo "make site    the documentation as a site, into site/"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/core.stamp: pyproject.toml constraints.txt $(SOURCES) $(ZOO) | $(BIN)/python
	$(PIP) . ./packages/zoo
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt packages/zoo/pyproject.toml | $(BIN)/python
	$(PIP) -e '.[dev]' -e ./packages/zoo
	@touch $@

$(VENV)/docs.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[docs]'
	@touch $@

demo: $(READY)
	GENZOO=$(BIN)/genzoo sh examples/demo.sh

study: $(VENV)/dev.stamp
	$(BIN)/genzoo study examples/studies/first.toml

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

slow: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m slow

lowest: pyproject.toml
	$(PYTHON) -m venv $(VENV)-lowest
	$(PYTHON) -m tools.lowest > $(VENV)-lowest/lowest.txt
	$(VENV)-lowest/bin/pip install --quiet --disable-pip-version-check -c $(VENV)-lowest/lowest.txt -e '.[dev]'
	$(VENV)-lowest/bin/python -m pytest $(QUICK)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	sh tools/page/check.sh

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# With base=REV: the benchmarks that run side by side with another revision, and those alone. only=sampling: one of them.
bench: $(VENV)/dev.stamp
ifdef base
	@for file in $(if $(only),benchmarks/bench_$(only).py,$(shell grep -l frame.main benchmarks/bench_*.py)); do \
	echo; OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.$$(basename $$file .py) --base $(base); done
else
	@{ date -u '+measured %Y-%m-%d %H:%M UTC'; nproc | sed 's/$$/ cores/'; \
	for name in $(if $(only),bench_$(only),$(basename $(notdir $(wildcard benchmarks/bench_*.py)))); do echo; echo "$$ python -m benchmarks.$$name"; $(BIN)/python -m benchmarks.$$name; done; } | tee $(if $(only),/dev/null,docs/benchmarks.txt)
endif

docs: $(VENV)/dev.stamp
	$(BIN)/python docs/make_tables.py

site: $(VENV)/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist site
