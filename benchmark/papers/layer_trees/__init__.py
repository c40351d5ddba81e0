"""Layerwise decision trees: a network read layer by layer as ON/OFF states and a small tree over them.

Idea: in a ReLU network a node is ON (its output is positive) or OFF. The states of a layer's nodes are a binary encoding of
the sample. In deep layers whole classes share a few encodings, so a decision tree over the states of a handful of nodes
repeats what the network decides, and the mean image of the samples that pass each split shows what the node is about.

Use:
    method = LayerTree(layer="fc10", threshold=100).fit(target, reference, rng)      # method.py
    method.explain(target, batch, rng).labels                                        # (n,) the tree's classes
    print(*method.rules(target), sep="\\n")                                           # IF 66 ON THEN 0 ...

encodings.py  activations -> bits, unique and duplicate encodings        Sec. 3
trees.py      encodings -> CART, prediction, rules, heat maps            Sec. 4.1 and 5
duplicates.py the three kinds of duplicate encodings                     Table 2
drawing.py    the tree as a picture                                      Figs. 5 and 6
replicate.py, claims.py, figures.py   the paper's experiments, claims and pictures

Reference: Coenraad Mouton, Marelie H. Davel. Exploring Layerwise Decision Making in DNNs. SACAIR 2021, CCIS 1551, Springer
2022, doi:10.1007/978-3-030-95070-5_10. No code by the authors is known.
"""

TITLE = "Layerwise decision trees"
CITATION = "Mouton, Davel: Exploring Layerwise Decision Making in DNNs. SACAIR 2021, doi:10.1007/978-3-030-95070-5_10"
NOTES: tuple[str, ...] = ()
