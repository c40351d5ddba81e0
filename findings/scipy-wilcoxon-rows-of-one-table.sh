#!/usr/bin/env bash
# scipy.stats.wilcoxon of a table: a tie in one row changes the p-values of the other rows.
#
# Expected: with axis=1 each row is a test of its own, and its p-value the one that the row has alone. That with ties method="auto"
#           is the normal approximation (from 14 pairs on) is documented; it is a matter of the row that has them.
# Seen:     scipy 1.17.1: 14 pairs without ties have p = 0.0067 (exact) alone and beside another row without ties, and p = 0.0092
#           beside a row with ties; 50 pairs five times the p-value. One tie or zero anywhere decides for the whole array. From 51 pairs on
#           there is no such choice. scipy 1.15.3 and 1.16.3 do the same; 1.14.1 for zeros only.
# Matters:  a table of metrics x images tested in one call: the p-values of a metric, the Holm correction over them and the verdict
#           depend on which other metrics are in the table. Row by row, or with method= named, they do not.
# Source:   the numbers below; `has_ties` and `n_zero` in scipy/stats/_wilcoxon.py are of the whole array. The same is known of
#           mannwhitneyu (scipy issue 26115).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check scipy==1.17.1 numpy==2.4.6
cat > show.py <<'PY'
import numpy as np
import scipy
from scipy.stats import wilcoxon

print(f"scipy {scipy.__version__}")
for n in (14, 50, 51):
    row = np.arange(1, n + 1) * np.where(np.arange(n) % 7 == 1, -1.0, 1.0)  # no ties, no zeros
    untied, tied = row + 0.25, np.ones(n)
    alone = wilcoxon(row).pvalue
    beside = {name: wilcoxon([row, other], axis=1).pvalue[0] for name, other in (("untied", untied), ("tied", tied))}
    print(f"{n} pairs: alone {alone:.3g}, beside an untied row {beside['untied']:.3g}, beside a tied row {beside['tied']:.3g}")
PY
env/bin/python show.py | tee seen
expected="scipy 1.17.1
14 pairs: alone 0.00671, beside an untied row 0.00671, beside a tied row 0.00918
50 pairs: alone 8.24e-07, beside an untied row 8.24e-07, beside a tied row 4.23e-06
51 pairs: alone 2.36e-05, beside an untied row 2.36e-05, beside a tied row 2.36e-05"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
