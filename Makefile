# Everything runs from a clean clone with Python >= 3.11 and make. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STEPS := subscribe unsubscribe track live archive webhooks inbox launch send_batch record report privacy notify sync_sheet
AUDIT ?=
STATE ?= .twin/$(if $(filter emulators,$(STACK)),emulators,run)
OUTPUT = terraform -chdir=terraform output
# What Terraform knows of the deployed product, where it was applied from here; an answer that it owes ends the command.
DEPLOYED = set -e; $(if $(PROJECT),export GOOGLE_CLOUD_PROJECT=$(PROJECT);) if test -d terraform/.terraform; then \
  test -n "$$TENANT" || TENANT=$$($(OUTPUT) -raw tenant); \
  test -n "$$FIRESTORE_DATABASE" || FIRESTORE_DATABASE=$$($(OUTPUT) -raw firestore_database); \
  export TENANT FIRESTORE_DATABASE; fi;
export PYTHONDONTWRITEBYTECODE ?= 1

.PHONY: help demo run test pr lint audit format stage bootstrap fresh-workbook smoke bench faults chaos fuzz load pictures scale lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile

$(VENV)/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@echo "Setting up $(VENV) (once; a minute or two)"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

demo: $(VENV)/ready ## the product's main job, end to end, on a local twin, with an audit (RESUME=1 continues; STACK=emulators)
	@$(RUN) -m local demo

run: $(VENV)/ready ## the whole product on http://127.0.0.1:8080 until Ctrl-C (PORT=, STATE=, STACK=emulators)
	@$(RUN) -m local run --state $(STATE)

test: $(VENV)/ready ## every test (STRICT=1: a skipped test is a failure)
	@PYTHONDONTWRITEBYTECODE= $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

pr: lint test ## the gate for a change: what CI runs

lint: $(VENV)/ready ## ruff, mypy --strict, import rules
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/mypy --no-error-summary .
	@PYTHONPATH=. $(VENV)/bin/lint-imports --no-cache > $(VENV)/imports.txt || { cat $(VENV)/imports.txt; exit 1; }

audit: ## known faults of the dependencies, as the Python advisory database has them (needs the internet; AUDIT="--ignore-vuln …")
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r ops/audit.txt
	@$(VENV)/audit/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off $(AUDIT) -r requirements.txt

format: $(VENV)/ready ## put the code into shape
	@$(VENV)/bin/ruff check --quiet --fix .
	@$(VENV)/bin/ruff format --quiet .

stage: ## copy each step and shared/ into build/<step>, and zip it, as it is deployed
	@$(PYTHON) -m local.staging $(STEPS)

bootstrap: $(VENV)/ready ## the workbook, folder and tenant of a deployed product; adds what is missing (PROJECT=, CLIENT= or SHEET= and FOLDER=; APPROVERS=, ADMINS=, HOLD=)
	@$(DEPLOYED) $(RUN) -m ops bootstrap

fresh-workbook: $(VENV)/ready ## let an empty Sheet take the old one's place, whose history goes with it (SHEET=, PROJECT=; docs/privacy.md)
	@test -n "$(SHEET)" || { echo "Say SHEET=, the address of an empty Sheet: docs/privacy.md, a fresh workbook."; exit 1; }
	@$(DEPLOYED) UPDATE=1 CARRY=1 $(RUN) -m ops bootstrap
	@echo "Now delete the old Sheet and empty the bin of Drive: only its owner can."

smoke: $(VENV)/ready ## look at the deployed product from outside, as strangers and readers do (PROJECT=, ADDRESS= yours)
	@test -d terraform/.terraform || { echo "terraform/ is not applied here: README, Going live, step 3."; exit 1; }
	@$(DEPLOYED) PUBLIC_URL=$$($(OUTPUT) -raw public_url); ENDPOINTS=$$($(OUTPUT) -json endpoints); \
	  export PUBLIC_URL ENDPOINTS STACK=google; $(RUN) -m ops smoke --address "$(ADDRESS)"

bench: $(VENV)/ready ## ratios against peers, store operations, import times; writes bench/results.json
	@$(RUN) -m bench

faults: $(VENV)/ready ## 1,000 cut replies and ten freezes on the Firestore emulator; writes .twin/faults.json
	@$(RUN) -m tests.faults

chaos: $(VENV)/ready ## kill workers at twelve points, on both stores, beside naive senders; writes .twin/chaos.json
	@$(RUN) -m tests.chaos

fuzz: $(VENV)/ready ## forge every proof, replay callbacks, send odd requests to every step; writes .twin/fuzz.json (FUZZ_SEED=, FUZZ_SCALE=)
	@$(RUN) -m tests.fuzz

load: $(VENV)/ready ## hits, webhooks and sign-ups at a rate over sockets, beside a bare hello and a naive step; writes .twin/load.json
	@$(RUN) -m bench.load

pictures: $(VENV)/ready ## draw the starter mails with Chromium, into .twin/pictures, and the marketers' guide's, into docs/pictures
	@$(RUN) -m local.pictures
	@$(RUN) -m local.guide

scale: $(VENV)/ready ## 100,000 recipients by four workers, to a whole ledger
	@$(RUN) -m bench.scale

lock: $(VENV)/ready ## resolve requirements.in anew, then each step's own lock from it
	@$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 $(UPGRADE) requirements.in -o requirements.txt
	@for step in $(STEPS); do \
	  $(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 -c requirements.txt \
	    functions/$$step/requirements.in -o functions/$$step/requirements.txt; \
	done
	@$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 $(UPGRADE) ops/audit.in -o ops/audit.txt
	@$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 $(UPGRADE) \
	  tests/terraform/checkov.in -o tests/terraform/checkov.txt
	@$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 $(UPGRADE) \
	  tests/terraform/bqemulator.in -o tests/terraform/bqemulator.txt
	@$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-deps --python-version 3.11 $(UPGRADE) \
	  tests/twin/axe.in -o tests/twin/axe.txt

clean: ## remove what was built; the twin's state stays
	@rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis
