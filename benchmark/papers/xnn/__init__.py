"""XNN: a few concepts from which a class's logit can be rebuilt, and where each of them looks.

A small network is attached to a dense layer Z of the explained one. It squeezes Z into n = 5 x-features whose
weighted sum is the logit of a class; a sparse reconstruction of Z keeps them rich, a pull-away term keeps them
apart (``srae``). Contrastive Excitation Backprop (``benchmark.shared.excitation_backprop``) shows where each
x-feature looks (``maps``). How faithful, orthogonal and local they are is measured by
``benchmark.shared.attention_maps`` and ``metrics.concepts``.

network      the explanation networks of all classes, stacked, and their loss (Eq. 5)
srae         SRAE and its ablations: examples and training
maps         the explained layer, and c-MWP maps of x-features and units
method       the plug-in
measures     faithfulness, overlap and locality of one class; the Lasso
method_maps  the maps of Table 1's methods
masking      Table .5
replicate    the paper's experiments
verdicts     its claims, checked
figures      Figs. 7, 8, 10, .12, and its tables as plots
work         the work of all this, counted

Reference: Z. Qi, S. Khorram, L. Fuxin. Embedding Deep Networks into Visual Explanations. Artificial Intelligence
292, 2021.
"""

TITLE = "XNN: embedding a network into visual explanations"
CITATION = (
    "Z. Qi, S. Khorram, L. Fuxin. Embedding Deep Networks into Visual Explanations. "
    "Artificial Intelligence 292, 2021."
)
NOTES: tuple[str, ...] = (
    "An x-feature that is inactive on an image (E = 0) has no map here, and one that is dead for a class counts "
    "as uncorrelated in O1 and O2, which favours a method with many dead x-features. SRAE has more of them than "
    "NN and SAE: read the correlation of live maps beside O1. On CUB-50's dense layer it is 0.30 for SRAE, 0.40 "
    "for SAE and 0.41 for NN (quick): the paper's order does not rest on dead x-features.",
    "All x-features of a class can die (ReLU after the x-layer, as in the authors' code): its F_reg is then that "
    "of a constant. Every method therefore retrains such a network, and of trainings that were not accepted the "
    "one with the smallest loss is kept; the authors keep the last. 'SRAE without restarts' is without their test "
    "that two x-features contribute to the class.",
    "The published loss (Eq. 3) pulls x-features apart; the authors' code by default pulls images of a minibatch "
    "apart. The paper's is the default here, theirs is pull_away: images. Their dropout of 0.02 is left out.",
    "On toybirds the layer has 64 units, not 4,096: a Lasso with a dozen units is faithful there, so the paper's "
    "'hundreds of features' cannot be reproduced; F_reg still falls with their number.",
    "SqueezeNet has no dense layer below its logits. For CUB-50 one of 256 ReLU units is trained in place of "
    "conv10, at the same accuracy (65 %); on it F_reg of SRAE is 0.36 logits, of the Lasso with three units 2.9. "
    "On the leaderboard, where Z is the average of fire9, logits (averages of rectified maps) cannot be rebuilt "
    "exactly, and units have no contrast.",
    "Table .5: with so few pixels kept and their mean in place of an inpainting network, photographs are hardly "
    "ever classified correctly with either map (CUB-50, quick: 9 to 17 % of the images, 65 % unmasked); "
    "x-features and the 1-Heatmap differ there by less than the interval over classes.",
    "Which parts define a toybird's class is known. x-features put about eight times more of their map on these "
    "parts than a uniform map does, and no more than the 1-Heatmap: several concepts are no better placed than "
    "one map.",
    "VGG-19, 200 classes and the weights beta 15, q 100, eta 5 are the paper profile's; small layers use beta 1, "
    "q 10, eta 5.",
)
