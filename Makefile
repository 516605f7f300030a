PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CLIENT := $(VENV)/.client
BROWSER := $(VENV)/.browser
RAPIDOCR := $(VENV)/rapidocr
RAY := $(VENV)/ray
VERSION := $(shell sed -n 's/^VERSION = "\(.*\)"/\1/p' runtime/ocdnet/version.py)
BUILD ?=
GPU_WHEELS := pydantic pydantic-core annotated-types typing-inspection ruamel.yaml pyclipper \
  jsonschema jsonschema-specifications referencing rpds-py rich markdown-it-py mdurl torch-pruning \
  torchao optuna alembic sqlalchemy mako colorlog shapely

.PHONY: help demo gpu gpu-wheels test test-all test-client test-install test-browser test-container test-ray image bench bench-json bench-rapidocr starter check generate generate-check clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "%-16s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)

# What make test goes without. NVIDIA's client without its requirements: some are heavy and never imported; `client` holds those that are.
$(CLIENT): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[client,heic,pdf]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps \
	  nvidia-tao-automl nvidia-tao-sdk
	$(BIN)/python -c "import tao_automl.runner"
	touch $(CLIENT)

$(BROWSER): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[browser]"
	touch $(BROWSER)

demo: $(READY) ## Render scenes, train 3 CPU minutes, evaluate, export, predict
	$(BIN)/ocdnet demo --out demo

# Networks this small compute in one thread: more of them, in several processes, wait for each other.
test: $(READY) ## Run the tests that need nothing but this machine (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu and not client and not install and not slurm and not container and not browser and not ray"

test-client: $(CLIENT) ## Let NVIDIA's AutoML client search this skill, read HEIC and PDF (installs them)
	$(BIN)/python -m pytest tests/client -m client
	$(BIN)/python -m pytest tests/data/test_reading.py

test-install: $(READY) ## Install this skill with npx and uv, and its wheel, from npm and PyPI, and use it
	$(BIN)/python -m pytest tests/install -m install

test-browser: $(BROWSER) ## Drop pictures on the page of `ocdnet serve` in a headless chromium (Debian's)
	$(BIN)/python -m pytest tests/browser -m browser

# Of its own, without torch: 1.2 GB that nothing else here needs; moto and constraints.txt disagree.
$(RAY)/.ready: pyproject.toml
	test -x $(RAY)/bin/python || $(PYTHON) -m venv $(RAY)
	$(RAY)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[raytest]"
	touch $@

test-ray: $(RAY)/.ready ## Detect on a Ray cluster of two nodes and an S3 endpoint, one node killed (installs them)
	$(RAY)/bin/python -m pytest tests/scale

test-container: $(READY) ## Build both images with buildah and work in them (as root; 10 GB of disk)
	$(BIN)/python -m pytest tests/container -m container

# Options of the build: make image BUILD="--build-arg BASE_IMAGE=docker.io/library/python:3.11-slim"
image: ## Build the images ocdnet:VERSION-train and -deploy with docker, podman or buildah
	@for engine in docker podman buildah none; do $$engine info >/dev/null 2>&1 && break; done; \
	  [ $$engine != none ] || \
	  { echo "make image needs docker, podman or buildah, and none of them works here" >&2; exit 5; }; \
	for target in deploy train; do \
	  $$engine build $(BUILD) --target $$target -t ocdnet:$(VERSION)-$$target \
	    -f runtime/ocdnet/docker/Dockerfile . || exit 6; \
	done

test-all: $(CLIENT) $(BROWSER) ## Run every test, the marked ones too
	$(BIN)/python -m pytest

bench: $(READY) ## Measure against the baselines, on an idle machine (10 minutes)
	$(BIN)/python benchmarks/run.py

bench-json: $(READY) ## The same, written to bench.json as well
	$(BIN)/python benchmarks/run.py --json bench.json

bench-rapidocr: $(READY) $(RAPIDOCR) ## Picture to boxes beside RapidOCR, on an idle machine (installs it)
	$(BIN)/python benchmarks/beside_rapidocr.py --rapidocr $(RAPIDOCR)/bin/python --work $(RAPIDOCR)/work

$(RAPIDOCR):
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check rapidocr==3.10.0 openvino onnxruntime

starter: $(READY) ## Train the starter on rendered scenes, or go on with it, in starter/ (2 hours of one core)
	$(BIN)/python benchmarks/starter.py --out starter

gpu: $(READY) ## Test and measure what only a GPU can show, into gpu-results (9 minutes)
	PYTHON=$(abspath $(BIN)/python) sh benchmarks/gpu.sh

# For a machine without a network: what its Python 3.12 with torch lacks.
gpu-wheels: $(READY) ## Fetch what a bare GPU machine lacks, as wheels for Python 3.12
	rm -rf .gpu/wheels
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
	  --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
	  --platform manylinux2014_x86_64 --dest .gpu/wheels -c constraints.txt $(GPU_WHEELS)

check: $(READY) ## Lint, format, types, import direction, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory generate-check

generate: $(READY) ## Write schemas/, references/ and skill_info.yaml from the config dataclasses
	$(BIN)/python -m ocdnet_generator.main

generate-check: $(READY) ## Fail with a diff where a generated file is not up to date
	$(BIN)/python -m ocdnet_generator.main --check

clean: ## Remove the environment, caches and the demo's results
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
