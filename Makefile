# The few commands of the house. Each does its own set-up, once.
#
#   make leaderboard [PROFILE=quick]   data, networks, explanations, scores, tables, page
#   make test                          the fast tests          (make test-all: the slow ones too)
#   make check-results                 compare the rows just made with the committed ones
#   make readme                        rewrite the README's tables from results/
#   make bench                         speed, side by side with the peers
#   make lint                          ruff

PROFILE ?= offline
PYTHON  ?= python3
VENV    := .venv
BIN     := $(CURDIR)/$(VENV)/bin
PIP     := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt

export PATH := $(BIN):$(PATH)
export OMP_NUM_THREADS ?= 1
export MPLBACKEND := Agg

.PHONY: leaderboard test test-all lint readme check-readme check-results bench clean

leaderboard: $(VENV)/.for-use
	@glassbench use $(PROFILE)
	@dvc repro
	@glassbench show

test: $(VENV)/.for-tests
	@python -m pytest -q -n 2 -m "not slow"

test-all: $(VENV)/.for-tests
	@python -m pytest -q -n 2

lint: $(VENV)/.for-tests
	@ruff check . && ruff format --check .

readme: $(VENV)/.for-use
	@glassbench readme

check-readme: $(VENV)/.for-use
	@glassbench readme --check

check-results: $(VENV)/.for-use
	@glassbench compare HEAD --profile $(PROFILE)

bench: $(VENV)/.for-tests
	@for script in benchmarks/*.py; do echo "== $$script" && python $$script || exit 1; done

clean:
	rm -rf $(VENV) *.egg-info

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "glassbench needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.for-use: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing glassbench into $(VENV) (once; PyTorch alone is several GB)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.for-tests: $(VENV)/.for-use
	@echo "installing what the tests need (once)"
	@$(PIP) --editable '.[test,oracles]'
	@touch $@
