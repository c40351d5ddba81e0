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
NOTES: tuple[str, ...] = ()
