#!/usr/bin/env bash
# With class_weight="balanced", scikit-learn's decision trees split nodes that hold one class only.
#
# Expected: a node whose samples all have one label is a leaf: there is nothing left to separate, whatever the weights.
# Seen:     scikit-learn 1.9.1: on 5,000 samples of ten classes with binary features, 3 of 12 splits are of pure nodes. The
#           balanced weights n / (k n_c) are no dyadic fractions; the node's total and its class's sum are added up in another
#           order, differ in the last bits, and the impurity comes out above the 2.2e-16 that the tree takes for zero. With weights that are
#           multiples of 2**-40 all sums are exact, and no pure node is split. Without weights there are none either.
# Matters:  numbers of nodes, depths, "how many splits does this layer need" and pruned subtrees count splits that separate
#           nothing; min_impurity_decrease=0 does not stop them.
# Source:   the counts below; sklearn/tree/_tree.pyx makes a leaf where impurity <= EPSILON (2.2e-16).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6
cat > show.py <<'PY'
import numpy as np
import sklearn
from sklearn.tree import DecisionTreeClassifier

rng = np.random.default_rng(1)
y = rng.integers(0, 10, 5000)
X = np.column_stack([y == 0, rng.integers(0, 2, (5000, 12)), (y[:, None] >> np.arange(4)) & 1]).astype(float)
balanced = (len(y) / (10 * np.bincount(y)))[y]


def splits(weights):
    tree = DecisionTreeClassifier(random_state=0).fit(X, y, sample_weight=weights).tree_
    inner = np.flatnonzero(tree.children_left >= 0)
    pure = sum(1 for node in inner if np.count_nonzero(tree.value[node][0]) == 1)
    return f"{pure} of {len(inner)}"


print(f"scikit-learn {sklearn.__version__}")
print(f"splits of pure nodes, no weights: {splits(None)}")
print(f"splits of pure nodes, balanced weights: {splits(balanced)}")
print(f"splits of pure nodes, balanced weights on a grid of 2**-40: {splits(np.round(balanced * 2**40) / 2**40)}")
PY
env/bin/python show.py | tee seen
expected="scikit-learn 1.9.1
splits of pure nodes, no weights: 0 of 9
splits of pure nodes, balanced weights: 3 of 12
splits of pure nodes, balanced weights on a grid of 2**-40: 0 of 9"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
