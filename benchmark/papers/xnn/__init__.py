"""XNN: a few concepts from which a class's logit can be rebuilt, and where each of them looks.

A small network is attached to a dense layer Z of the explained one. It squeezes Z into n = 5 x-features whose weighted sum is
the logit of a class; a sparse reconstruction of Z keeps them rich, a pull-away term keeps them apart (``srae``). Contrastive
Excitation Backprop (``benchmark.excitation``) shows where each x-feature looks (``maps``); how faithful, orthogonal and
local they are is measured by ``benchmark.attention`` and ``metrics.concepts``.

Reference: Z. Qi, S. Khorram, L. Fuxin. Embedding Deep Networks into Visual Explanations. Artificial Intelligence 292, 2021.
"""

TITLE = "XNN: embedding a network into visual explanations"
CITATION = (
    "Z. Qi, S. Khorram, L. Fuxin. Embedding Deep Networks into Visual Explanations. Artificial Intelligence 292, 2021."
)
NOTES: tuple[str, ...] = ()
