#!/usr/bin/env bash
# scipy.stats.wilcoxon of two equal samples: p = 1 for 13 pairs, NaN for 14.
#
# Expected: where all differences are zero nothing speaks against the null hypothesis, so p = 1 for any number of pairs (or NaN
#           for all: one answer).
# Seen:     scipy 1.17.1 with method="auto": p = 1.0 up to 13 pairs, NaN from 14 on. With zeros among the differences the exact
#           distribution is replaced by a permutation test up to 13 pairs, which gives 1; from 14 on by the normal
#           approximation, whose standard error is 0. method="asymptotic" gives NaN for all, with a RuntimeWarning.
# Matters:  a paired comparison of methods meets equal scores (two saturated methods, a metric that does not apply). `p < 0.05` is
#           false for both answers, but `p >= 0.05`, a Holm correction by sorting, or a mean over p values differ, and the
#           switch comes with one more image.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check scipy==1.17.1 numpy==2.4.6
cat > show.py <<'PY'
import warnings

import numpy as np
import scipy
from scipy.stats import wilcoxon

warnings.simplefilter("ignore")
print(f"scipy {scipy.__version__}")
for n in (5, 13, 14, 100):
    equal = np.zeros(n)
    print(f"{n} pairs: auto {wilcoxon(equal).pvalue}, asymptotic {wilcoxon(equal, method='asymptotic').pvalue}")
PY
env/bin/python show.py | tee seen
expected="scipy 1.17.1
5 pairs: auto 1.0, asymptotic nan
13 pairs: auto 1.0, asymptotic nan
14 pairs: auto nan, asymptotic nan
100 pairs: auto nan, asymptotic nan"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
