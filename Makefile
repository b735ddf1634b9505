# make run    the whole series, headless, on the embedded AWS (TARGET=aws: on AWS)
# make test   all checks and tests
# Both install what they need into .venv, once; they need Python 3.11 or newer, and a package index.

PYTHON ?= python3
BIN := .venv/bin
TARGET ?=
PROJECT ?=
DATA ?=
WEIGHTS ?=
ONLY ?=
FROM ?=
PARAMETERS ?=
MAX_MEMORY ?=
OUT ?= out
WORKERS ?= 3
SHARED_OUT := --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder
EXTRAS := --extra localaws --extra train --extra notebooks --extra test

.PHONY: help run test check test-delays benchmarks test-ray notebooks site teardown lock up down clean
help:
	@sed -n '1,3p' Makefile | cut -c3-
	@echo 'make run [DATA=zip, URL or folder] [WEIGHTS=file, default or none] [ONLY=03,04] [OUT=folder] [TARGET=aws]'
	@echo '         [FROM=05: go on from notebook 05] [PARAMETERS=a.yaml,b.yaml: side by side] [MAX_MEMORY=GiB] [PROJECT=name]'
	@echo 'make teardown [DRY=1] [PROJECT=dog-breeds] [TARGET=aws]   delete what a run has left, or list it'
	@echo 'make site [OUT=folder] [RUN=folder of a finished run]   the executed notebooks as a web site, with search'
	@echo 'make up | down   start, end the embedded AWS by itself'
	@echo 'make test-delays the integration tests, with random pauses inside the embedded AWS: finds what depends on luck'

# Only what is given, so that it wins over a file of PARAMETERS and the rest does not.
GIVEN = $(call given,target,$(TARGET)) $(call given,project,$(PROJECT)) $(call given,data,$(DATA)) \
  $(call given,weights,$(WEIGHTS)) $(call given,only,$(ONLY)) $(call given,from,$(FROM)) \
  $(call given,parameters,$(PARAMETERS)) $(call given,max-memory,$(MAX_MEMORY))
given = $(if $(2),--$(1)='$(2)')
run: .venv/installed
	$(BIN)/python -m helpers.series --out '$(OUT)' $(GIVEN)

# Three workers keep two cores busy, as tests also wait. Benchmarks compare speeds, so they have the machine to
# themselves. Both are run, whichever fails. What fails is run again by itself, if it is little.
test: check .venv-site/installed
	@$(BIN)/python -m pytest --cache-clear $(SHARED_OUT) --durations=25 -m 'not ray' --ignore=tests/benchmarks tests; \
	  tests=$$?; if [ $$tests = 1 ]; then $(BIN)/python tests/again.py; tests=$$?; fi; \
	  $(BIN)/python -m pytest -m 'not ray' tests/benchmarks; benchmarks=$$?; \
	  echo "tests: exit code $$tests, benchmarks: exit code $$benchmarks"; test "$$tests$$benchmarks" = 00

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The embedded AWS with random pauses in it: what depends on luck fails here first.
test-delays: .venv/installed
	PYTHONPATH=tests/delays $(BIN)/python -m pytest $(SHARED_OUT) -m 'not ray' tests/integration

benchmarks: .venv/installed
	$(BIN)/python -m pytest -s tests/benchmarks

# The endpoint's app under Ray Serve, the server of AWS's inference image: 300 MB more, so in an environment of its own.
test-ray: .venv/installed
	$(BIN)/uv venv --quiet --allow-existing .venv-ray
	$(BIN)/uv pip install --quiet --python .venv-ray/bin/python 'ray[serve]==2.57.*' -r requirements.lock
	.venv-ray/bin/python -m pytest -m ray tests

notebooks: .venv/installed
	$(BIN)/python -m helpers.series --out '$(OUT)' --store

# The stored notebooks as a web site, to be opened as a file or served by anything; RUN=out compares that run, too.
RUN ?=
site: .venv-site/installed
	@.venv-site/bin/python docs/site/build.py --out '$(if $(filter file,$(origin OUT)),site,$(OUT))' $(if $(RUN),--run '$(RUN)')

# Everything of a project that is left, also after a run that failed half-way. DRY=1 lists it and deletes nothing.
teardown: .venv/installed
	LOCALAWS_STATE='$(OUT)/localaws' $(BIN)/python -m helpers.teardown --target '$(or $(TARGET),local)' \
	  --project '$(or $(PROJECT),dog-breeds)' $(if $(DRY),--dry-run)

up down: .venv/installed
	@$(BIN)/python -m helpers.localaws $@

lock: .venv/installed
	$(BIN)/uv pip compile pyproject.toml $(EXTRAS) --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --quiet -o requirements.lock
	$(BIN)/uv pip compile --group site --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --quiet -o docs/site/requirements.lock

# uv installs in seconds what takes pip minutes; where uv cannot reach the index that pip is set up for, pip does it.
.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	@awk '/^uv==/ {on=1} on {print} on && !/\\$$/ {exit}' requirements.lock > .venv/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock || \
	  $(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

# Sphinx in an environment of its own: the AWS CLI holds docutils back at a version that it no longer works with.
.venv-site/installed: docs/site/requirements.lock .venv/installed
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-site
	$(BIN)/uv pip install --quiet --python .venv-site/bin/python --require-hashes --compile-bytecode -r $< || \
	  $(BIN)/python -m pip --python .venv-site/bin/python install --disable-pip-version-check --require-hashes -r $<
	@touch $@

clean:
	-@test ! -x $(BIN)/python || $(BIN)/python -m helpers.localaws reset
	rm -rf .venv .venv-ray .venv-site .site out site
