"""ClaDec: what a layer of a classifier keeps of an image, drawn by a decoder, beside what an auto-encoder keeps.

decoder     D for a layer of any shape (Table 1), and a fresh copy of an encoder
training    ClaDec's decoders (Eq. 1), the reference auto-encoder, evaluation classifiers; K networks as one on a GPU
occlusion   the relevance of 16 squares (Sec. 6.6)
prototypes  the network of Li et al. 2018 whose prototypes Fig. 15 compares with
method      the plug-in
replicate   Tables 2-8, Figs. 13-15, and the verdicts on the paper's claims
figures     Figs. 5-16
"""

TITLE = "ClaDec: explaining classifiers by constructing familiar concepts"
CITATION = (
    "J. Schneider, M. Vlachos. Explaining classifiers by constructing familiar concepts. "
    "Machine Learning 112 (2023), published online 2022"
)
NOTES: tuple[str, ...] = (
    "The unit of the losses in Tables 2 and 3 is not printed. They reach .374 on MNIST, whose pixels in [0, 1] have a variance "
    "of .095: only standardised pixels can lose that much. The losses of Tables 4 to 6 are in yet another unit, so they are "
    "measured here as sum and norm of an image's error and compared with no printed number, only in their signs.",
    "Eq. 1 adds the squared errors of all pixels up, the authors' code takes their mean: the same alpha then weighs the class "
    "1,024 times as much on 32 x 32 pixels. With the sum, as printed, alpha = .9 hardly changes a reconstruction; see the "
    "picture of Fig. 11.",
    "The paper counts the logits as layer -1; the authors' code gives that number to the input of the last dense layer.",
    "Layer -1 in Tables 7 and 8 has no map for Grad-CAM; here it is the last layer with channels and positions. On VGG that is "
    "1 x 1, its map flat, and least and most relevant square two random draws.",
    "Table 1 lists 5 x 5 deconvolutions without batch norm, the authors' code has 4 x 4 without batch norm and a sigmoid on "
    "plain pixels. The default here is 4 x 4 with batch norm on standardised pixels; `variant: authors` is theirs.",
    "RefAE in Table 6 does not depend on the classifier's age: here it is trained once for each seed, so that its line is flat "
    "by construction, not by measurement.",
    "The per-pixel heat map is ours: the mean relevance of the squares that cover a pixel. Tables 7 and 8 use the squares.",
)
