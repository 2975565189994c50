# Two commands for a newcomer: `make demo` (see it work) and `make test` (see it tested). `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
DEMO := .venv-demo
PIP := pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo demo-pacs serve serve-demo node test test-slow lint bench bench-pacs bench-hooks bench-worklist words samples clean
.DEFAULT_GOAL := help

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(DEMO)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEMO)
	@echo "Installing the serving side (no torch); about a minute the first time."
	$(DEMO)/bin/$(PIP) -e .
	@touch $@

$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "Installing everything, torch included; several minutes and about 6 GB the first time."
	$(VENV)/bin/$(PIP) -e '.[train,adopt,dask,ray,several,tracking,openvino,postgresql,s3,dev]'
	@touch $@

demo: $(DEMO)/.done ## Install the serving side, score everything in data-samples/, write pictures to out/demo/, stop.
	$(DEMO)/bin/python -m service demo

demo-pacs: $(DEMO)/.done ## Orthanc -> Diaphane -> Orthanc with the samples (apt-get install orthanc orthanc-dicomweb).
	$(DEMO)/bin/python -m service demo-pacs

serve-demo: $(DEMO)/.done ## The clinician's page with demo studies and risks waiting in the list; ends by printing the login link.
	$(DEMO)/bin/python -m service demo --serve

node: $(DEMO)/.done ## The PACS side: DICOM receiver, DICOMweb, workers and deliverer on loopback.
	$(DEMO)/bin/python -m service node

serve: $(DEMO)/.done ## Start the service on loopback and keep it up.
	$(DEMO)/bin/python -m service start

test: $(VENV)/.done ## Install everything and run the whole suite (under 15 minutes on 2 cores).
	$(VENV)/bin/python -m pytest

test-slow: $(VENV)/.done ## The suite with its long tests too.
	$(VENV)/bin/python -m pytest --slow

lint: $(VENV)/.done ## Format check, linter, types.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

bench: $(VENV)/.done ## Speed as ratios from one interleaved run; writes out/bench.json.
	$(VENV)/bin/python -m training bench

bench-pacs: $(VENV)/.done ## Load: ingest against Orthanc, and ten minutes at ten times a large hospital's peak.
	$(VENV)/bin/python -m service bench-pacs

bench-hooks: $(VENV)/.done ## Load: cards of CDS Hooks at 20 signed calls a second.
	$(VENV)/bin/python -m service bench-hooks

bench-worklist: $(VENV)/.done ## Speed: the worklist of the clinician's page at 1,000,000 rows.
	$(VENV)/bin/python -m service bench-worklist

words: $(VENV)/.done ## Renew the catalogs of texts from the code.
	$(VENV)/bin/python -m service.catalog

samples: $(VENV)/.done ## Make data-samples/ again from the training split and the releases.
	$(VENV)/bin/python -m training samples

clean: ## Remove environments and outputs.
	rm -rf $(VENV) $(DEMO) out .cache
