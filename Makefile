PYTHON ?= python3
VENV := .venv
RUN := $(if $(TRACE),runs/demo_$(basename $(notdir $(TRACE))),runs/demo)
FUZZ_SECONDS := 600
AGAINST := adbe35e# the last commit that plays slot by slot; tagged before-stretch

.PHONY: help setup demo results results-docs bench test test-long chaos fuzz mutants lint check image-test cluster-test docs clean
help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed ## create .venv with the locked dependencies

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "mec-rllib needs Python 3.11 to 3.13; name one with make PYTHON=python3.12" >&2; exit 2; }
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV) \
	  || { echo "venv is missing: apt-get install python3-venv" >&2; exit 2; }
	$(VENV)/bin/pip install -q -r requirements.lock
	$(VENV)/bin/pip install -q --no-deps -e .
	@echo 'compiling what the demo uses, once (a minute or two)'
	@$(VENV)/bin/mec-rllib check tune_configs/demo.yaml > /dev/null
	@touch $@

demo: setup ## the main job into runs/demo (RUN=...); an interrupted one goes on; TRACE=file.csv runs it on a recorded workload; SET="slots=5000 seeds=[0]" changes keys
	$(VENV)/bin/mec-rllib tune tune_configs/demo.yaml --out '$(RUN)' --resume $(foreach s,$(SET),--set '$(s)') \
	  $(if $(TRACE),--set env.workload=trace --set env.trace.path='$(TRACE)')

results: setup ## play every shipped experiment whose data are missing or stale, write docs/results (hours; ONLY="demo loads", TRACES=folder of recordings, CORES=1)
	$(VENV)/bin/python -m mec_rllib.published play $(if $(ONLY),--only $(ONLY)) $(if $(TRACES),--traces '$(TRACES)') $(if $(CORES),--cores $(CORES))

results-docs: setup ## write docs/results.md and docs/results from the data files alone
	$(VENV)/bin/python -m mec_rllib.published write $(if $(TRACES),--traces '$(TRACES)')

bench: setup ## measure speed beside JAX, sbx, SB3, RLlib's DQN and an older commit (25 minutes; AGAINST=commit)
	$(VENV)/bin/pip install -q -c requirements.lock -e '.[bench]'
	$(VENV)/bin/mec-rllib bench --against $(AGAINST) --only kernel,training,experiment

test: setup ## run the tests, two at a time
	$(VENV)/bin/python -m pytest -q -n 2 --dist loadscope --no-loadscope-reorder

test-long: setup ## run the tests that are marked slow
	$(VENV)/bin/python -m pytest -q -n 2 --dist loadscope --no-loadscope-reorder -m 'slow and not hosts'

chaos: setup ## inject faults, the long set, and print what was survived (SOAK_MINUTES=30)
	$(VENV)/bin/python -m pytest -q -m chaos --long tests/whole/test_chaos.py

fuzz: setup ## fuzz the readers of configs and traces (FUZZ_SECONDS=600 each)
	$(VENV)/bin/pip install -q 'atheris>=3'
	$(VENV)/bin/python tests/helpers/fuzz.py config $(FUZZ_SECONDS)
	$(VENV)/bin/python tests/helpers/fuzz.py trace $(FUZZ_SECONDS)

mutants: setup ## break the code on purpose, count what the tests notice (ROOM=gates; 2 hours)
	nice -n 19 $(VENV)/bin/python -W ignore tests/helpers/mutants.py $(ROOM)

lint: setup ## ruff, mypy and hadolint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/hadolint Dockerfile

image-test: setup ## build the image with buildah and try it (root; 5 minutes)
	deploy/image-test.sh

cluster-test: setup ## three hosts as network namespaces, two of them lost (root; 7 minutes)
	$(VENV)/bin/python -m pytest -q -s -m hosts tests/whole/test_cluster.py

docs: setup ## write docs/config.md from the typed config, docs/claims.md from the claims of the experiments
	$(VENV)/bin/python -m mec_rllib.reference.config > docs/config.md
	$(VENV)/bin/python -m mec_rllib.reference.claims tune_configs > docs/claims.md

check: lint test ## lint and tests, in this folder; CI does it in a clone (.ci/run)

clean: ## remove runs and caches, not .venv
	rm -rf runs .pytest_cache .ruff_cache .mypy_cache .hypothesis
