"""Representative Interpretations: what many images have in common for a convolutional network.

A region P(x), cut out of the network's own linear decision boundaries, holds an image x and as many reference images of
its class as possible, and none of another. Its few boundaries are shown as one heat map, which serves every image that
the region covers, unseen ones included.

    method.py        the plug-in: regions of the reference set, heat maps and labels of new images
    boundaries.py    Eq. 2: linear boundaries, at reference images (the text) or at the decision boundary (the code)
    cover.py         Alg. 1: the greedy choice of P(x), on packed bits
    regions.py       P(x), Eq. 5, 6: heat maps, similar images, which region explains an image
    clusters.py      k-means in Omega: which images are interpreted
    reuse.py         the reuse protocol for any plug-in with ``channel_weights``
    concept_sets.py  the same for ACE: concepts of one set of images, reused on others
    masked.py        Eq. 7, 8: average drop and increase of masked images
    replicate.py     Tables 1 and 2, Figs. 2, 4, 5, 6, 8; verdicts.py, figures.py: what they say and show

Reference: Lam, Chu, Torgonskiy, Pei, Zhang, Wang. Finding Representative Interpretations on Convolutional Neural
Networks. ICCV 2021, arXiv:2108.06384.
"""

TITLE = "Representative Interpretations"
CITATION = (
    "Lam, Chu, Torgonskiy, Pei, Zhang, Wang: Finding Representative Interpretations on Convolutional Neural Networks. "
    "ICCV 2021, arXiv:2108.06384"
)
NOTES: tuple[str, ...] = (
    "The tie rule of the greedy algorithm cannot be met as printed: D(x) is part of R, so the numerator of Eq. 4 "
    "is never below its denominator, and a numerator of zero makes 0/0. The authors' code counts only images of "
    "x's own class in the numerator; the two ratios differ by exactly 1, so the choice is the same and the rule "
    "makes sense.",
    "The greedy algorithm is good, not optimal: over 200 random cases of 60 images and 7 boundaries it covers "
    "98.3 % of what the best subset of Q covers (brute force), all of it in 84 % of the cases, 71 % in the worst.",
    "Text and code draw Q differently: at reference images, one Q for all inputs, or at the decision boundary "
    "around each input. On toybirds (offline profile, |Q| = 50, two networks, unseen images) the code's way "
    "covers every image and agrees with the network on 92 and 91 %, the text's covers 95 and 88 % and agrees on 97 "
    "and 98 %: higher coverage costs agreement. 'RI' is the code's way, 'RI (reference)' the text's, which also "
    "keeps the boundaries that others make redundant.",
    "On photographs of cats and dogs (quick profile, SqueezeNet, 600 references, 200 unseen images) what RI gains "
    "depends on their size. At 224 pixels (commit 23b69c7) it reuses better than the CAMs, as in the paper: mAD "
    "9.9, Grad-CAM++ 16.4, Score-CAM 25.8, Grad-CAM 28.4, a random map 47.9. At the 128 pixels of the profile, "
    "where fire9 has 7 x 7 positions instead of 13 x 13, it has 21.1, Grad-CAM++ 20.5, Grad-CAM 23.3, Score-CAM "
    "30.5 and the random map 41.9. RI (reference) covers 67 % of the images there, the code's way 98.5 %.",
    "Score-CAM scores an image's 128 most active of 512 channels on ASIRRA: on four images of 224 pixels 66 to 84 % "
    "of its top pixels are those of all channels, and the drop of its own maps is larger by 0.1 point at most. "
    "There it was ahead of RI where it explains the input itself and fell behind on images like it, as in Fig. 4 "
    "(by +4.6 and -7.7 points of mAD at K = 1 and 10); at 128 pixels the two cannot be told apart (+3.6 +- 18.4 and "
    "+1.5 +- 11.3).",
    "The neighbours of an image in Omega are not all of its class: among the four nearest references of the case "
    "study's dog (quick profile) are two cats, while its region, by Eq. 6, lists dogs alone.",
    "ACE needs clusters of more than 20 segments that many images share, so it has no concept of a small set: an "
    "image without one has no explanation. It is counted, not scored, and RI's drop on the same images stands "
    "beside ACE's. On toybirds (one network, 80 sets, 100 unseen images, SLIC at 15 and 50 segments) 70 % of the "
    "images are explained; of 15 segments alone a fourth was. There ACE's mAD is 81.4, RI's on the same images 73.4; "
    "a random map's on all is 85.1: ACE is worse than RI by 8 points, and hardly better than chance.",
    "RI2 asks whether ACE's mAD is more than three times RI's. mAD is 100 at most, so it is judged only where RI's is "
    "below 33.3: not on toybirds, where an all-black image loses 86.6 and RI's maps 80.8 and 84.9.",
    "Coverage alone says little: with |Q| = 1 every region is a half space, all of toybirds is covered, and "
    "agreement with the network is 17 %, where a guess among eight classes has 12.5 %.",
    "Table 1 keeps 20 % of the pixels and blackens the rest. On toybirds every method, RI included, loses most of the "
    "class score (mAD 62.4 to 85.1 on two networks, a random map 85.1 and 87.0), and Score-CAM comes first; the "
    "rest of the table depends on how a network reacts to black.",
    "Not stated in the paper: what explains an image in two regions (here, as in App. D: the larger), the W of "
    "Eq. 6 (here raw, as in the code, though the text says normal vectors), and whether redundant boundaries stay "
    "(the later code drops them: the covered images are the same, the mean heat map is not). Nor for ACE: which class "
    "a set of mixed predictions stands for (here that of the image nearest to its centre) and when a new image's "
    "segment is outlying (here farther from its nearest concept's centre than all 40 segments that represent it).",
    "Fig. 4's Y_c is the score of the input's class on all of its similar images, as printed under Fig. 2; mAI counts "
    "the rises that probabilities in float32 show, so none where a network is certain to seven digits.",
    "App. F, an A/B test of 20 people on retina images (Fig. 7; the text says Figure 5), is not for a program to "
    "repeat.",
)
