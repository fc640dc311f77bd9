# `make help` lists the commands. Everything runs in .venv, which the first command makes from requirements.lock.
PYTHON ?= python3
# On Linux without a GPU, TORCH_INDEX=https://download.pytorch.org/whl/cpu saves gigabytes of CUDA libraries.
TORCH_INDEX ?=
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)

SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONUNBUFFERED := 1
INSTALLED := .venv/installed

.DEFAULT_GOAL := help
.PHONY: help install repro report audit test test-slow lint verify banking77 seeds sweep params docs tour test-docs lock audit-dependencies sbom publish serve abuse benchmark benchmark-inference kill-test remote push pull resolve-lock clean

help: ## list the commands
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r target what; do printf 'make %-20s %s\n' "$$target" "$$what"; done

install: $(INSTALLED) ## make .venv from the lock file (hashes checked)

# torch first and by itself: its CPU and GPU wheels carry different hashes under one version, so the lock leaves it out. The rest is installed
# by uv, which is faster than pip; where only pip knows the index (pip.conf), by pip. Before it the locked setuptools: one package has no wheel, and
# would be built by whatever setuptools is the newest.
$(INSTALLED): requirements.lock
	@! grep -q '^<<<<<<<' $< || { echo 'error: $<: in conflict: `git checkout --theirs requirements*.lock`, then `make lock`'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11, 5) <= sys.version_info < (3, 14))' \
	  || { echo "error: $(PYTHON) is not Python 3.11.5 to 3.13: set PYTHON=python3.12, say"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	pip install --quiet $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	pip install --quiet --no-deps --require-hashes --requirement <(sed -nE '/^(uv|setuptools)==/,/[^\]$$/p' requirements.lock)
	uv pip install --quiet --python .venv --compile-bytecode --no-deps --no-build-isolation --require-hashes --requirement requirements.lock \
	  || pip install --quiet --no-deps --no-build-isolation --require-hashes --requirement requirements.lock
	pip check
	touch $@

repro: install ## run the pipeline on the sample and print the results
	@python -m pipeline.installed
	dvc repro
	@python -m pipeline.tables

report: install ## what the working tree did to the model since main (BASE=another revision), to build/report
	python -m pipeline.report --base $(or $(BASE),main) --output build/report

audit: install ## what is wrong with the data of the last run, row by row, to build/audit
	python -m pipeline.audit

# Two processes; a thread that waits sleeps, so that those of one process do not hold up the other's.
PYTEST := OMP_WAIT_POLICY=passive pytest --numprocesses 2 --dist loadfile

test: install ## run the tests, but for the slow ones (SLOW=1: the slow ones too)
	$(PYTEST) $(if $(SLOW),,-m 'not slow')

test-slow: install ## run the slow tests alone: commands of the documents, kills, sweeps, workflows, benchmarks
	$(PYTEST) -m slow

lint: install ## formatting, lint, types, workflows
	ruff format --check .
	ruff check .
	mypy
	.ci/lint_workflows

verify: install ## rebuild all in a clean clone, without cache: does dvc.lock hold?
	python -m pipeline.verify

banking77: install ## the reference run on BANKING77 (from BANKING77_DIR, else the hub), five students (SEEDS=another number)
	python -m pipeline.reference --seeds $(or $(SEEDS),5)

benchmark-inference: install ## text to label, and over HTTP: ms, queries/s, rivals (QUICK=1: does it run? RECORD=1: for the documents)
	python -m benchmarks.service $(if $(QUICK),--quick) $(if $(RECORD),--record)
	python -m benchmarks.inference $(if $(QUICK),--quick) $(if $(RECORD),--record)

sweep: install ## search knobs with Optuna, on validation; the same command resumes (TRIALS=30 in all, SWEEP='-S key=value ..')
	@python -m pipeline.sweep --trials $(or $(TRIALS),30) $(SWEEP)

seeds: install ## how far seeds move the sample's figures: the noise floor of `make report` (SEEDS=5, at least 3)
	python -m pipeline.reference --data sample --seeds $(or $(SEEDS),5)

params: install ## compose params.yaml from configs/
	python -m pipeline.compose

docs: install ## regenerate the tables in the documents, then build them as a site to build/site; a broken link fails
	python -m pipeline.tables --write
	python -m pipeline.site

tour: install ## run the notebook docs/tour.ipynb on the model of the last run, and keep its outputs
	python -m pipeline.tour

test-docs: install ## run the notebook in a clone with a run of its own, and compare the outputs that are kept
	pytest tests/test_tour.py

# For all platforms and versions of Python at once; the service's for its image. From PyPI, or the index that UV_DEFAULT_INDEX names.
lock: install ## resolve requirements.lock anew from pyproject.toml, and the part of it that the service needs
	uv pip compile --quiet --upgrade --universal --python-version 3.11.5 $(addprefix --extra ,run export serve audit sweep wandb dev) \
	  --no-emit-package torch --generate-hashes --no-header --output-file requirements.lock pyproject.toml
	uv pip compile --quiet --python-platform linux --python-version 3.11 --constraint requirements.lock \
	  --generate-hashes --no-header --output-file requirements-serve.lock dockerfiles/serve.in

# Without hashes, since torch has none in the lock; --disable-pip: all versions are exact, so nothing is installed to look at it.
audit-dependencies: install ## known vulnerabilities in what is locked (asks osv.dev; OSV_URL=another)
	@mkdir -p build
	@{ sed -n 's/^\([^ ]*==[^ ]*\) .*/\1/p' requirements.lock; echo "$(TORCH)"; } > build/pins.txt
	pip-audit --progress-spinner off --disable-pip --no-deps --strict --vulnerability-service osv $(if $(OSV_URL),--osv-url $(OSV_URL)) \
	  --requirement build/pins.txt

sbom: install ## what is locked, as CycloneDX with hashes: build/sbom.json
	@mkdir -p build
	cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-file build/sbom.json requirements.lock

publish: install ## checkpoint and model card to the hub: shows what it would do (REPO=user/name PUSH=1 does it; ONNX=1: graphs too)
	@python -m pipeline.publish $(if $(REPO),--repo $(REPO)) $(if $(filter 1,$(PUSH)),--push) $(if $(filter 1,$(ONNX)),--onnx) $(if $(filter 1,$(PUBLIC)),--public)

# Only from make's own command line: shells and conda export a HOST of theirs.
given = $(if $(filter command,$(origin $1)),$($1))

serve: install ## serve the model: page, HTTP API (HOST=127.0.0.1, PORT=8080)
	@python -m pipeline.serve --model models/onnx --host $(or $(call given,HOST),127.0.0.1) --port $(or $(call given,PORT),8080)

abuse: install ## stress-test and fuzz the service: 500 generated requests an operation, a minute of overload, a fresh environment from the lock
	pytest tests/test_abuse.py tests/test_images.py --examples 500 --overload 60 --images

benchmark: install ## how fast the student is taught, where the time goes (FULL=1 trains each to its end; RECORD=1: for the documents, the rivals with FULL=1)
	python -m benchmarks.training_step $(if $(RECORD),--record)
	python -m benchmarks.training $(if $(FULL),--full $(if $(RECORD),--record))

kill-test: install ## kill the pipeline at 20 random points; it must recover to the same hashes
	pytest tests/test_faults.py --kills 20 -k kill

remote: install ## keep checkpoints and data in your bucket: make remote BUCKET=gs://NAME/FOLDER
	@[[ -n "$(BUCKET)" ]] || { echo "error: BUCKET: give the address of your bucket: make remote BUCKET=gs://NAME/FOLDER"; exit 1; }
	dvc remote modify storage url "$(BUCKET)"
	dvc remote default storage
	@python -m pipeline.remote check

push: install ## send checkpoints and data to the bucket, and check that dvc.lock's objects are there
	@python -m pipeline.remote check
	dvc push
	@python -m pipeline.remote verify

pull: install ## bring checkpoints and data of this commit from the bucket
	@python -m pipeline.remote check --read-only
	dvc pull

resolve-lock: install ## after a merge with conflicts: make anew what the pipeline makes, dvc.lock first
	@python -m pipeline.resolve_lock

clean: ## remove what can be made again (not .venv, the DVC cache, build/wandb)
	@mkdir -p build
	find build -mindepth 1 -maxdepth 1 ! -name wandb -exec rm -rf {} +
	rm -rf .cache dvc_plots .mypy_cache .pytest_cache .ruff_cache
