"""her2st: HER2-positive breast cancer, spatial transcriptomics with H&E.

Andersson et al., Nature Communications 12:6012 (2021), doi:10.1038/s41467-021-26271-2;
36 sections of 8 patients; a spot is 100 micrometres wide, spots are 200 micrometres
apart. pathjax downloads nothing: it reads what a user unpacked.

    source.py      the files of a section, and readers of its tables
    geometry.py    micrometres per pixel from the spot pitch
    image.py       decoding, background colour, tissue, tiles
    section.py     a section's counts, positions and labels, joined by spot
    expression.py  one table of counts over all sections
    build.py       the paired study
    tissue.py      unlabelled tissue tiles for pre-training
"""

from pathjax.datasets.her2st.build import build_her2st
from pathjax.datasets.her2st.tissue import build_her2st_tissue

__all__ = ["build_her2st", "build_her2st_tissue"]
