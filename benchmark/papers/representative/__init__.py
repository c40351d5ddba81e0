"""Representative Interpretations: what a convolutional network has in common on many images.

A region P(x), cut out of the network's own linear decision boundaries, holds an image x and as many reference images of
its class as possible, and none of another. Its few boundaries are shown as one heat map, which serves every image that
the region covers: also one that was never seen before.

    method.py        the plug-in: regions of the reference set, heat maps and labels of new images
    boundaries.py    Eq. 2: linear boundaries, at reference images (the text) or at the decision boundary (the code)
    cover.py         Alg. 1: the greedy choice of P(x), on packed bits
    regions.py       Eq. 5, 6: heat maps, similar images, which region explains an image
    clusters.py      k-means in Omega: which images are interpreted
    reuse.py         the reuse protocol for any plug-in with ``channel_weights``
    replicate.py     Tables 1 and 2, Figs. 2, 4, 5, 6

Reference: Lam, Chu, Torgonskiy, Pei, Zhang, Wang. Finding Representative Interpretations on Convolutional Neural
Networks. ICCV 2021, arXiv:2108.06384.
"""

TITLE = "Representative Interpretations"
CITATION = (
    "Lam, Chu, Torgonskiy, Pei, Zhang, Wang: Finding Representative Interpretations on Convolutional Neural Networks. "
    "ICCV 2021, arXiv:2108.06384"
)
NOTES: tuple[str, ...] = ()
