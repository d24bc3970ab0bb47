"""her2st: HER2-positive breast cancer, spatial transcriptomics with H&E.

Andersson et al., Nature Communications 12:6012 (2021), doi:10.1038/s41467-021-26271-2;
36 sections of 8 patients; a spot is 100 micrometres wide, spots are 200 micrometres
apart. pathjax downloads nothing: it reads what a user unpacked.

    source.py      the files of a section, and readers of its tables
    geometry.py    micrometres per pixel from the spot pitch
    section.py     a section's image, counts, positions and labels, joined by spot
    build.py       the paired study, by datasets/spatial
    tissue.py      unlabelled tissue tiles for pre-training
"""
