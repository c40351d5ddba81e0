"""Folder: your own images, one subfolder per class; becomes a data set with a name of its own.

What        DIR/<class>/*.jpg, split here; or DIR/train/<class>/* and DIR/test/<class>/* (also: val, valid, validation).
            Gender Classification (male, female), Retinal OCT (CNV, DME, DRUSEN, NORMAL) and Food-5K (food, non-food) of
            Representative Interpretations come as such folders.
Use         glassbench prepare folder --path DIR [--name NAME] [--size N] writes
            datasets/processed/<profile>/NAME.npz and datasets/NAME.py, a script of two lines. From then on NAME is a
            data set like any other: write it under ``datasets:`` of a profile, and under ``zoo:`` a network to train
            on it. The script names DIR relative to the project. Where a clone has it elsewhere, it sets
            ``data: {NAME: {path: DIR}}`` in its params.yaml.
Licence     that of your images; nothing is uploaded or copied elsewhere
Citation    that of your images
Official    none: the folder itself. Mirror: none
Split       the folder's own, or every fifth image of each class to test, drawn by a named seed
Subset      none
Resize      size, fit: "squash" both sides, or "crop" the centre; bilinear with antialiasing
Converted   to 8 bits, upright, on white (``benchmark/data/photos.py``); counted in the card by kind, and printed
Skipped     files that do not decode as images, or have more than 50 million pixels; named in the card, and printed
"""

import sys

from benchmark.data.folders import command_line

if __name__ == "__main__":
    sys.exit(command_line())
