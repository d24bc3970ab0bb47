"""TCGA: slides, bulk RNA and labels of The Cancer Genome Atlas become a paired study.

Downloads nothing: it reads files from GDC, Xena or other projects' tables. `rna.py` and
`rna_*.py` read expression, `labels.py` reads labels, `pairing.py` pairs slides with RNA,
`build.py` writes the study.
"""
