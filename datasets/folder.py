"""Folder: your own images, a folder of classes, a CSV, COCO or Pascal VOC; becomes a data set with a name of its own.

What        DIR/<class>/*.jpg, split here; or DIR/train/<class>/* and DIR/test/<class>/* (also: val, valid, validation).
            Gender Classification (male, female), Retinal OCT (CNV, DME, DRUSEN, NORMAL) and Food-5K (food, non-food) of
            Representative Interpretations come as such folders. Also a CSV, COCO's JSON or Pascal VOC's XML files, with
            boxes, and masks (docs/your-images.md)
Use         glassbench prepare folder --path DIR [--name NAME] [--size N] writes
            datasets/processed/<profile>/NAME.npz and datasets/NAME.py, a script of two lines, and names NAME in
            params.yaml: under ``datasets:``, and under ``zoo:`` with a network to train on it. From then on NAME is a
            data set like any other. The script names DIR relative to the project. Where a clone has it elsewhere, it
            sets ``data: {NAME: {path: DIR}}`` in its params.yaml.
Licence     that of your images; nothing is uploaded or copied elsewhere
Citation    that of your images
Official    none: the folder itself. Mirror: none
Split       the folder's own, or every fifth image of each class to test, drawn by a named seed
Subset      none
Resize      size, fit: "squash" both sides, or "crop" the centre; bilinear with antialiasing; boxes and masks alike
Converted   to 8 bits, upright, on white (``benchmark/data/photos.py``); counted in the card by kind, and printed
Skipped     files that do not decode as images, or have more than 50 million pixels; named in the card, and printed
"""

import sys

from benchmark.data.folders import command_line

if __name__ == "__main__":
    sys.exit(command_line())
