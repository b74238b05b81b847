# Everything here works on a fresh clone with Python 3.11 (or 3.12) and make.
PYTHON ?= python3
UV     := .venv/bin/uv
VENV   := .venv/.installed
HOME_DIR ?= tempo-home
WORKERS ?= 2
STACK   ?= $(HOME_DIR)/stack
PREFECT_PORT ?= 4200
POSTGRES_PORT ?= 5433
# Many processes import the same modules: their bytecode is kept, whatever the surroundings ask for.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help curate deploy up-local down-local test check format lock clean

help:  ## show what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet 'uv>=0.9,<1'
	$(UV) pip install --quiet --python .venv/bin/python --require-hashes -r requirements.lock
	$(UV) pip install --quiet --python .venv/bin/python --no-deps --editable .
	@touch $@

curate: $(VENV)  ## curate VIDEOS=DIR, or the project's own demo library
ifdef VIDEOS
	.venv/bin/tempo curate "$(VIDEOS)" --recipe curate_offline --home "$(HOME_DIR)" --dataset films --workers $(WORKERS)
else
	.venv/bin/tempo demo "$(HOME_DIR)/demo-library"
	.venv/bin/tempo curate "$(HOME_DIR)/demo-library/manifest.csv" --recipe curate_offline --home "$(HOME_DIR)" --dataset demo --workers $(WORKERS)
endif

deploy: $(VENV)  ## register all flows at PREFECT_API_URL; FILMS=DIR curates, RETRAIN=RECIPE retrains nightly
	.venv/bin/python -m flows.deployments --films "$(FILMS)" --retrain "$(RETRAIN)"

up-local: $(VENV)  ## start PostgreSQL, a Prefect server and a worker on this machine, without Docker
	.venv/bin/python -m flows.stack up --folder "$(STACK)" --home "$(HOME_DIR)" --port $(PREFECT_PORT) --postgres-port $(POSTGRES_PORT) \
		--films "$(FILMS)" --retrain "$(RETRAIN)"

down-local: $(VENV)  ## end them; what they hold is kept
	.venv/bin/python -m flows.stack down --folder "$(STACK)"

test: $(VENV)  ## run the tests
	.venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: $(VENV)  ## format, lint, types, layers, tests: what CI runs
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(MAKE) --no-print-directory test

format: $(VENV)  ## format the code
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lock: $(VENV)  ## pin every dependency with hashes
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --group dev --output-file requirements.lock pyproject.toml

clean:  ## remove the environment and caches (never a home)
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
