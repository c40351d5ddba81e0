"""ExplaiNN: which neurons of two layers are active together, as a small set of robust rules X -> Y.

Idea: binarise the activations of two layers over a data set, and of all sets of rules "where at least l of the neurons X are
active, at least k of the neurons Y are" take the one with which X, Y and the data fit into the fewest bits. From the
labels to a hidden layer such rules say which neurons classes share and which are their own; chained through the layers they
show how information flows; zeroing the weights they name makes the network lose the class.

    mdl.py         the code length of data and rules (Sec. 2.2, App. A.1, A.2)
    miner.py       the search (Algorithms 1-3), on the compiled kernels of kernel.py
    planted.py     data with known rules, exact and soft precision and recall (Sec. 3.1)
    networks.py    activations as tables, rules between layers, cascades, interventions (Sec. 3.2, App. B)
    prototypes.py  the image that activates a rule's tail most, against its single units (Fig. 14)
    method.py      the plug-in: labels, sizes and heat maps from rules

Reference: What's in the box? Exploring the inner life of neural networks with robust rules. Under review at ICLR 2021.
"""

TITLE = "ExplaiNN"
CITATION = "What's in the box? Exploring the inner life of neural networks with robust rules. Under review, ICLR 2021."
NOTES: tuple[str, ...] = ()
