#!/usr/bin/env bash
# A stage of DVC that depends on a parameter called `size` gets the output of another size back from the run cache.
#
# Expected: after a parameter of a stage has changed, `dvc repro` runs it, or brings back the output of a run with the same parameters.
# Seen:     dvc 3.67.1. `size` goes from 16 to 32: repro sees the change, says that the stage "is cached - skipping run", and checks out
#           the output of the run with 16. dvc.lock then names 32 beside the hash of the file that was made with 16, so that `dvc status`
#           calls it up to date. The same stage with the parameter called `side` runs. `nfiles` is ignored as `size` is.
# Matters:  image sizes are called so everywhere. A pipeline goes on with images of the old size, and its lock file says otherwise.
# Source:   the calls below; open as treeverse/dvc#10296. The run cache's key is the hash of what dvc.lock holds for a stage, without every
#           entry called `size` or `nfiles`, which there are the bytes and files of an output; those of parameters go with them. A stage
#           whose outputs have `persist: true` is not in the run cache, and `dvc repro --no-run-cache` does not look there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check dvc==3.67.1
export DVC_NO_ANALYTICS=1 PATH="$folder/env/bin:$PATH"
mkdir project && cd project
dvc init -q --no-scm
cat > make.py <<'PY'
import sys
open(f"{sys.argv[1]}.txt", "w").write(open("params.yaml").read().split(f"{sys.argv[1]}: ")[1].split()[0])
PY
cat > dvc.yaml <<'YAML'
stages:
  size: {cmd: python make.py size, deps: [make.py], params: [size], outs: [size.txt]}
  side: {cmd: python make.py side, deps: [make.py], params: [side], outs: [side.txt]}
YAML
printf 'size: 16\nside: 16\n' > params.yaml
dvc repro -q
printf 'size: 32\nside: 32\n' > params.yaml
dvc repro > said 2>&1 || { cat said; exit 1; }
{
    dvc --version
    grep -o "Stage 'size' is cached - skipping run" said || echo "size ran"
    grep -o "Running stage 'side'" said || echo "side did not run"
    echo "size.txt $(cat size.txt), side.txt $(cat side.txt)"
    echo "dvc.lock: $(grep -c 'size: 32$' dvc.lock) size of 32; status: $(dvc status -q && echo up to date)"
} > ../seen
cat ../seen
expected="3.67.1
Stage 'size' is cached - skipping run
Running stage 'side'
size.txt 16, side.txt 32
dvc.lock: 1 size of 32; status: up to date"
[ "$(cat ../seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
