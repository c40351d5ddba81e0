# The few commands of the house. Each does its own set-up, once.
#
#   make leaderboard [PROFILE=quick]   data, networks, explanations, scores, tables, page (V=1: with what DVC says)
#   make test                          the fast tests          (make test-all: the slow ones too)
#   make faults                        runs killed, disks full, files spoilt: minutes (GLASSBENCH_KILLS=50)
#   make check-results                 are the rows just made the committed ones?
#   make diff [BASE=origin/main]       what is better, worse or lost against another commit; Markdown and a drawing in OUT
#   make newest                        install the newest releases instead of constraints.txt
#   make docs                          the site: docs/_build/index.html
#   make readme                        rewrite the README's tables from results/
#   make bench [ONLY="cams xnn"] [TURNS=3]   speed, side by side with the peers and an earlier build; docs/numbers.md says it
#   make mutants [MODULES=metrics/masking]  do the tests notice when the metrics or the statistics are wrong? (an hour)
#   make lint                          ruff
#   make wheel [ALONE=1]               dist/*.whl with the networks just made, tried in an empty environment (with libraries of its own)

PROFILE ?= offline
BASE    ?= HEAD
OUT     ?= results/$(PROFILE)/artifacts/diff
PYTHON  ?= python3
VENV    := .venv
BIN     := $(CURDIR)/$(VENV)/bin
PIP     := "$(BIN)/python" -m pip install -qq --disable-pip-version-check --constraint constraints.txt

# What DVC says of itself goes to a file, which is shown if it fails; its errors, and what a step says, are on stderr.
LOG     := .dvc/tmp/repro.log
QUIET   := mkdir -p $(dir $(LOG)) && { dvc repro > $(LOG) || { code=$$?; cat $(LOG) >&2; exit $$code; }; }
REPRO   := $(if $(V),dvc repro,$(QUIET))

export PATH := $(BIN):$(PATH)
export OMP_NUM_THREADS ?= 1
export MPLBACKEND := Agg

.PHONY: leaderboard test test-all faults lint docs readme check-readme check-results diff newest bench mutants wheel clean

leaderboard: $(VENV)/.for-use
	@glassbench mend && glassbench use $(PROFILE)
	@$(REPRO) && rm -f .dvc/tmp/dvc.lock.kept
	@glassbench show

test: $(VENV)/.for-tests
	@python -m pytest -q -n 2 -m "not slow and not faults"

test-all: $(VENV)/.for-tests
	@python -m pytest -q -n 2 -m "not faults"

faults: $(VENV)/.for-tests
	@python -m pytest -q -s -m faults

lint: $(VENV)/.for-tests
	@ruff check . && ruff format --check .

docs: $(VENV)/.for-tests
	@python -m sphinx -W --keep-going -q -b html docs docs/_build && echo docs/_build/index.html

readme: $(VENV)/.for-use
	@glassbench readme

check-readme: $(VENV)/.for-use
	@glassbench readme --check

check-results: $(VENV)/.for-use
	@glassbench compare HEAD --profile $(PROFILE)

diff: $(VENV)/.for-use
	@mkdir -p $(OUT); glassbench diff $(BASE) --profile $(PROFILE) --md --plot $(OUT)/diff.svg > $(OUT)/diff.md; \
	code=$$?; cat $(OUT)/diff.md; exit $$code

newest: $(VENV)/.made
	@$(MAKE) --no-print-directory --what-if=pyproject.toml PIP='"$(BIN)/python" -m pip install -qq --disable-pip-version-check --upgrade --upgrade-strategy eager' $(VENV)/.for-tests

bench: $(VENV)/.for-tests
	@python -m speed $(if $(ONLY),--only $(ONLY)) $(if $(TURNS),--turns $(TURNS))

mutants: $(VENV)/.for-tests
	@python -c 'import cosmic_ray' 2>/dev/null || $(PIP) --editable '.[mutation]'
	@python -m tools.mutants $(MODULES)

wheel: $(VENV)/.for-use
	@python -m tools.wheel $(if $(ALONE),--alone)

clean:
	rm -rf $(VENV) *.egg-info build dist

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "glassbench needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.for-use: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing glassbench into $(VENV) (once; PyTorch alone is several GB)"
	@$(PIP) --editable '.[pipeline]'
	@touch $@

$(VENV)/.for-tests: $(VENV)/.for-use
	@echo "installing what the tests need (once)"
	@$(PIP) --editable '.[pipeline,test,oracles,cluster,docs]'
	@touch $@
