"""Layerwise decision trees: a network read layer by layer as ON/OFF states and a small tree over them.

Idea: in a ReLU network a node is ON (its output is positive) or OFF. The states of a layer's nodes are a binary
encoding of the sample. In deep layers whole classes share a few encodings, so a decision tree over the states of a
handful of nodes reproduces what the network decides, and the mean image of the samples that pass each split shows what
the node is about.

Use:
    method = LayerTree(layer="fc10", threshold=100).fit(target, reference, rng)      # method.py
    method.explain(target, batch, rng).labels                                        # (n,) the tree's classes
    print(*method.rules(target), sep="\\n")                                           # IF 66 ON THEN 0 ...

encodings.py  activations -> bits, unique and duplicate encodings        Sec. 3
trees.py      encodings -> CART, prediction, rules, heat maps            Sec. 4.1 and 5
duplicates.py the three kinds of duplicate encodings                     Table 2
drawing.py    the tree as a picture                                      Figs. 5 and 6
replicate.py, verdicts.py, figures.py   the paper's experiments, claims and pictures

Reference: Coenraad Mouton, Marelie H. Davel. Exploring Layerwise Decision Making in DNNs. SACAIR 2021, CCIS 1551,
Springer 2022, doi:10.1007/978-3-030-95070-5_10. No code by the authors is known.
"""

TITLE = "Layerwise decision trees"
CITATION = (
    "Mouton, Davel: Exploring Layerwise Decision Making in DNNs. SACAIR 2021, "
    "doi:10.1007/978-3-030-95070-5_10"
)
NOTES: tuple[str, ...] = (
    "The paper does not say how the weights are initialised. With PyTorch's default for linear layers, a bias in the "
    "first layer only and inputs in [0, 1], the networks of the quick profile come close to Table 3 layer by layer.",
    "The bias in the first layer only, as in the paper, matters. Untrained networks of this kind with ten layers keep "
    "1,541 to 1,797 encodings of the 1,797 digits in every layer, so fewer encodings in deep layers are what training "
    "does. With PyTorch's default biases in every layer, layers 8 to 10 have one or two encodings before any training "
    "(findings/torch-default-biases-merge-relu-patterns.sh).",
    "scikit-learn's class_weight='balanced' splits nodes that hold one class only: the sums of the weights differ in "
    "the last bit, so the impurity is 1e-16 instead of 0. The last layer of MNIST-100 then has 10 or 11 split nodes, "
    "depending on the random state; with weights that add up exactly it has 9, as in Table 3, whatever the random "
    "state. The rows use such weights (tests/papers/layer_trees/test_method.py checks that no split is superfluous).",
    "Table 1 gives 100 % training accuracy for all networks but no number of epochs. By its recipes, on 55,000 images "
    "(profile trees, 30 networks of each kind), all of MNIST-100 reach it, in 35 to 215 epochs, 27 of "
    "Fashion-MNIST-100 in 225 to 400 (the others end at 99.94 to 99.99 %), 21 of MNIST-20 in 160 to 470, and none of "
    "Fashion-MNIST-40 in 600 (98.36 to 99.996 %). In the quick profile the learning rate of all but MNIST-100 decays "
    "sooner and they stop at 150 to 200 epochs, short of it. The caption of Fig. 3 lists the networks that reached it; "
    "the verdicts' scale lists the epochs. Duplicates and claims that rely on interpolation suffer where it is not "
    "reached.",
    "Tables 3 and 4 are about MNIST-100, where a threshold of 100 costs little accuracy and leaves the smallest tree. "
    "For narrow networks and for Fashion-MNIST it costs more (profile trees): trees of Fashion-MNIST-100 lose 14 to 16 "
    "points, averaged over layers 4 to the last.",
    "Not stated in the paper and chosen here: a tie for the majority class goes to the lowest class; thresholds of 0 "
    "and 1 are the same; the last 5,000 of the 60,000 images are left out of training.",
    "Table 2 sorts duplicate encodings by eye. Here a rule does: few means fewer than 20 images, as in the paper, many "
    "means a tenth of a class or more; both examples of the paper fall on the right side (40 % and 58 % against less "
    "than 1 %).",
    "In the quick profile Fashion-MNIST's images are enlarged from 28 to 32 pixels (nearest neighbour), as for the "
    "other papers, and its network of width 100 decays its learning rate by 0.9, not 0.99, every 5 epochs, and stops "
    "after 150.",
    "On the digits (1,400 images) all depths from 1 to 8 have networks that classify every training image correctly. "
    "The deeper the network, the fewer encodings its last layers have; shallow ones keep nearly one for each image.",
    "Other activations, a node being ON where the input of its activation function is positive: on the digits leaky "
    "ReLU and GELU of depth 4 keep nearly one encoding per image to the last layer, like ReLU; tanh ends with half as "
    "many and has the most accurate trees.",
    "Beyond the paper, every layer of every network has a tree. Where nodes are rarely OFF for a whole class, as in "
    "small convolutional networks, `variant: median` (ON above the node's median) is compared with the paper's rule in "
    "the surrogate track.",
)
