"""TCGA: slides, bulk RNA and labels of The Cancer Genome Atlas become a paired study.

pathjax downloads nothing of it: it reads what a user got from GDC, Xena or the tables
of other projects.

    barcodes.py    whose tissue a name speaks of
"""
