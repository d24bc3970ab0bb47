"""A synthetic cohort: tiles that look like H&E and expression, from shared latents.

    latents.py     latent variables of a patient
    canvas.py      grids in micrometres, smooth and fibrous noise
    cells.py       lattices, cell borders, glands; nuclei and their stain
    sheet.py       collagen, cytoplasm, mucin; the look of nuclei
    tumours.py     a recipe per cancer type
    tissue.py      a recipe per other tissue; a tile
    stain.py       Beer-Lambert, sites, scanner
    programmes.py  gene programmes and negative-binomial counts
    reports.py     report texts
    cohort.py      splits
    build.py       the study

The study is labelled synthetic. It is for trying and testing pathjax; nothing learned
from it holds for patients.
"""

from pathjax.datasets.demo.build import build_demo

__all__ = ["build_demo"]
