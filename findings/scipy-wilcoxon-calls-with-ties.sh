#!/usr/bin/env bash
# One tie among 13 pairs makes scipy.stats.wilcoxon call its statistic 8194 times, once for each assignment of signs.
#
# Expected: that ties need another null distribution, and that method="auto" takes all 2**n assignments of signs up to 13 pairs, is
#           documented. The statistic works along an axis, so that this is one call on an array of 2**n rows.
# Seen:     scipy 1.17.1: 1 call without ties, 2**n + 2 with a tie or a zero: 8194 for 13 pairs (1.4 million calls of Python functions, 5
#           to 12 s on a slow machine against 1 ms). permutation_test works along an axis only if the statistic has a parameter
#           `axis`; the lambda that wilcoxon passes has none. In a table one tied row costs 2**n calls for every row. Rank sums times all
#           signs, one matrix product, give the same p. scipy 1.14.1 made one call for the same input; 1.15.3 and 1.16.3 are as 1.17.1.
# Matters:  scores with few digits have ties: 100 tests of 13 pairs are 819,400 calls, minutes, and with 14 pairs 100 calls again (the normal
#           approximation).
# Source:   the counts below; scipy/stats/_wilcoxon.py, scipy pull request 21567.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check scipy==1.17.1 numpy==2.4.6
cat > show.py <<'PY'
from itertools import product
from unittest.mock import patch

import numpy as np
import scipy
from scipy.stats import _wilcoxon, rankdata, wilcoxon


def calls(d, **options):
    with patch.object(_wilcoxon, "_wilcoxon_statistic", wraps=_wilcoxon._wilcoxon_statistic) as statistic:
        p = wilcoxon(d, **options).pvalue
    return statistic.call_count, p


def by_product(d):
    ranks = rankdata(abs(d))
    sums = np.array(list(product((0, 1), repeat=len(d)))) @ ranks
    seen = ranks[d > 0].sum()
    return min(1, 2 * min(np.mean(sums <= seen), np.mean(sums >= seen)))


print(f"scipy {scipy.__version__}")
for n in (6, 13, 14):
    untied = np.arange(1.0, n + 1) * np.where(np.arange(n) % 4, 1, -1)
    tied = np.where(untied == 2, 1, untied)  # |d| = 1 twice
    zero = np.where(untied == 2, 0, untied)
    counts = {name: calls(d)[0] for name, d in (("untied", untied), ("tied", tied), ("zero", zero))}
    print(f"{n} pairs: calls " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    if n == 13:
        print(f"13 pairs, tied: the matrix product gives the same p: {np.isclose(calls(tied)[1], by_product(tied))}")
table = np.tile(np.arange(1.0, 7), (100, 1))
print(f"100 rows of 6 pairs: calls untied {calls(table, axis=1)[0]}", end="")
table[0, 1] = 1
print(f", one row of them tied {calls(table, axis=1)[0]}")
PY
env/bin/python show.py | tee seen
expected="scipy 1.17.1
6 pairs: calls untied 1, tied 66, zero 66
13 pairs: calls untied 1, tied 8194, zero 8194
13 pairs, tied: the matrix product gives the same p: True
14 pairs: calls untied 1, tied 1, zero 1
100 rows of 6 pairs: calls untied 1, one row of them tied 6501"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
