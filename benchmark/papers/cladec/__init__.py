"""ClaDec: what a layer of a classifier keeps of an image, drawn by a decoder, beside what an autoencoder keeps.

decoder     D for a layer of any shape (Table 1), and a fresh copy of an encoder
training    ClaDec's decoders (Eq. 1), the reference autoencoder, evaluation classifiers; K networks as one on a GPU
occlusion   the relevance of 16 squares (Sec. 6.6)
linear      Sec. 4: linear encoders and decoders beside PCA
prototypes  the network of Li et al. 2018 whose prototypes Fig. 15 compares with
method      the plug-in
replicate   Tables 2-8, Figs. 8-15, Sec. 4
verdicts    the paper's claims, checked
figures     Figs. 5-16
work        the work of all this, counted
"""

TITLE = "ClaDec: explaining classifiers by constructing familiar concepts"
CITATION = (
    "J. Schneider, M. Vlachos. Explaining classifiers by constructing familiar concepts. "
    "Machine Learning 112 (2023), published online 2022"
)
NOTES: tuple[str, ...] = (
    "The unit of the losses in Tables 2 and 3 is not printed. They reach 0.374 on MNIST, whose pixels in [0, 1] "
    "have a variance of 0.095: only standardised pixels can lose that much. The losses of Tables 4 to 6 are in "
    "yet another unit; they are measured here as sum and norm of an image's error, and compared with the printed "
    "ones in their signs alone.",
    "Eq. 1 sums the squared errors of all pixels, the authors' code takes their mean: the same alpha then weighs "
    "the class 1,024 times as much on 32 x 32 pixels. With the sum, as printed, alpha = 0.9 hardly changes a "
    "reconstruction; see the picture of Fig. 11.",
    "The paper counts the logits as layer -1; the authors' code gives that number to the input of the last dense "
    "layer.",
    "Layer -1 in Tables 7 and 8 has no map for Grad-CAM; here the last layer with channels and positions stands "
    "in. On VGG it is 1 x 1, so the map is flat, and the least and the most relevant square are two random draws.",
    "Table 1 lists 5 x 5 deconvolutions without batch norm, the authors' code has 4 x 4 without batch norm and a "
    "sigmoid on plain pixels. The default here is 4 x 4 with batch norm on standardised pixels; `variant: "
    "authors` is theirs.",
    "RefAE in Table 6 does not depend on the epochs of the classifier: here it is trained once for each seed, so "
    "its line is flat by construction, not by measurement.",
    "The heat map per pixel is ours: the mean relevance of the squares that cover a pixel. Tables 7 and 8, and the "
    "board's occlusion metric, use the squares.",
    "In Tables 2 and 3 the reconstruction loss does not rise from layer to layer on three of six networks (ResNet on "
    "Fashion-MNIST: 0.0171 at layer -4, 0.0069 at -3), and on CIFAR-100 with VGG-11 Delta Rec falls towards the output "
    "(0.09 at -4, 0.04 at -1). CD3 is judged at layers -5, -3 and -1, and on that network in the loss alone.",
    "Of the 24 values of Delta Acc that Tables 2 and 3 print below the last layer, 11 are within the 95 % error of two "
    "accuracies over 10,000 images each: they decide nothing about CD2. Here errors are paired over the images.",
    "Sec. 4's theory holds as far as gradient descent goes: on 1,400 digits of 32 x 32 a linear autoencoder with 1 and "
    "10 hidden units is within 0.002 % of the variance of PCA's projection and loses 85.3 % and 26.1 % of it. ClaDec "
    "of linear models of the classes loses 91.6 % and 42.6 % of the image but nothing of the models' output, of which "
    "PCA loses 99.5 % and 25.4 %.",
)
