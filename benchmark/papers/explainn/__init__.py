"""ExplaiNN: which neurons of two layers are active together, as a small set of robust rules X -> Y.

Idea: binarise the activations of two layers over a data set. Of all sets of rules "where at least l of the neurons X
are active, at least k of the neurons Y are" take the one with which the rules and the data need the fewest bits. From
the labels to a hidden layer such rules show which neurons classes share and which are specific to one; chained through
the layers they show how information flows; zeroing the weights they name makes the network lose the class.

    mdl.py         the code length of data and rules (Sec. 2.2, App. A.1, A.2)
    miner.py       finds the rules (Sec. 2.3); search.py has Algorithms 1-3, on the compiled kernels of kernel.py
    planted.py     data with known rules, exact and soft precision and recall (Sec. 3.1)
    networks.py    activations as tables, rules between layers, cascades, interventions (Sec. 3.2, App. B)
    prototypes.py  the image that activates a rule's tail most, against its single units (Fig. 14)
    traits.py      the rules that show what classes share and what is specific to each (Figs. 4, 13, 15, 17)
    method.py      the method: labels, sizes and heat maps from rules
    replicate.py, verdicts.py, figures.py, drawing.py   the paper's experiments, claims and pictures

Reference: What's in the box? Exploring the inner life of neural networks with robust rules. Under review at ICLR 2021.
"""

TITLE = "ExplaiNN"
CITATION = (
    "What's in the box? Exploring the inner life of neural networks with robust rules. "
    "Under review, ICLR 2021."
)
NOTES: tuple[str, ...] = (
    "App. A.1 is reproduced term by term: base 2, and without the L_N(|M|) that Sec. 2.2 adds (with it the total is "
    "285.96 bits, not 284.44). The printed sums add terms rounded to two decimals (14.88 = 4 x 3.72), so the exact "
    "14.894, 179.646, 375.943 and 284.445 differ from them by up to 0.023 bits.",
    "Exclusive heads are recovered exactly, all of them, up to 500 planted rules with theta = 0.2 and mu = 4, and up "
    "to 100, where the whole search space was searched, with theta = 0 and mu = 10 too. The paper says that theta = 0 "
    "and the largest mu are best, and not which ones it used.",
    "Co-occurring heads with 0.1 % noise: only a third of the planted rules are found as planted, for the planted "
    "model is not the shortest. One head item says as much as all of them, and the rules found take fewer bits "
    "(planted_minus_found_bits is positive); no method that minimises L(D, M) can return the planted ones. Noise "
    "makes the other items useful, so the scores rise with it.",
    "At 10 % noise theta decides: most occurrences of a head item are then flips, and its confidence falls below "
    "theta. Of 100 planted rules (three data sets) theta = 0.4, mu = 1 finds 5 %; theta = 0.2, mu = 4 has exact "
    "precision 0.88 and recall 0.77; theta = 0.1 and theta = 0, with mu = 4 or 10, all have 0.87 and 0.79, and 0.97 "
    "and 0.85 instead of 0.88 and 0.70 where head items also occur alone. The planted model is then still shorter, by "
    "7,100 and 8,900 bits: of 300 rules 9 (13 alone) cost more bits than they save, 21 (25) have no tail item for "
    "which a rule pays, and Algorithm 1 begins with such rules; 9 (7) are found with a part of the tail, 25 (1) with "
    "another head.",
    "A rule sends the other occurrences of its tail items with log C(n, |T'_I|), as if they could also lie where the "
    "rule applies. That makes rules of few classes expensive: heads found on networks of eight classes and more hold "
    "several of them far more often than one.",
    "So rules like Fig. 4's 'husky and not malamute' rarely belong to one class alone here: of 45 rules of the "
    "MNIST network one has a single class, of 32 of CUB's one. Between two classes the three rules still say what "
    "is shared: on CUB (224 pixels) one tail of red patches for Cardinal, Purple Finch and Vermilion Flycatcher, "
    "one of yellow ones for European Goldfinch, Yellow-headed Blackbird and others.",
    "Fine-tuning SqueezeNet on CUB nearly doubles the number of rules from the classes to fire9 (17 to 32); 9 of them "
    "existed before, with heads and tails overlapping by half or more.",
    "Without the weights of its rules the MNIST network loses most classes almost completely, and without as many "
    "random weights none, as the paper says of VGG-S. Elsewhere less is lost: in all but one of the digits', toybirds' "
    "and CUB's networks most classes with rules fall below the random interventions, but few of them to 5 % or less.",
    "What is answered instead is related, as the paper says: on MNIST, of ten classes, the commonest answer is the "
    "nearest class in the last hidden layer for seven (one by chance); 3 and 5, and 4 and 9, are answered for each "
    "other.",
    "What the paper shows of whole tails is weaker where tails are small: on MNIST they have at most two units, whose "
    "common image activates the tail 4 to 7 % more than that of the better unit, and is sharper for one of three. The "
    "rules of the class with most rules hold in 95 % of its images there and in all on CUB, so they do not divide it "
    "into kinds as those of Great Danes do. Of CUB's 1,225 pairs of classes 286 have the three rules of Fig. 4; those "
    "shown hold in 26 percentage points more of the images of their own class than of the other's.",
    "Chained down to MNIST's convolutions, 69 % of a tail's pixel pairs in one filter touch, 1 to 4 % by chance: "
    "features have their places, as in Fig. 16. On 300 photographs of ASIRRA two rules lead to SqueezeNet's fire9 and "
    "none from their tails to pool8 (maxima of 2 x 2 positions).",
    "Intervening needs no retraining and no copy: only the class's own logit changes. Rules from the classes to all "
    "13,520 positions of the first convolution on 10,000 images take seconds; the paper speaks of minutes for MNIST.",
    "Our additions to the paper: labels and heat maps from rules, channels as units where a convolution feeds the "
    "classes through an average, and rules kept within a filter for the heat maps. On 256 reference images a network "
    "with 50 or 100 classes has no rule that saves a bit.",
)
