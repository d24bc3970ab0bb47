"""Probes on a task's folds: which rows fit, which choose, and with what options.

    Round (task, labelled rows, protocol) -> FITS[protocol.probe] -> Fit

A module for each family of protocols turns roles into the arguments of a jitted probe
(eva_linear.py, abmil.py, logistic.py, ...). None of them reads a file or scores.
"""

from pathjax.evals.fits.abmil import fit_abmil
from pathjax.evals.fits.eva import fit_eva_linear
from pathjax.evals.fits.hest import fit_hest
from pathjax.evals.fits.planned import fit_planned
from pathjax.evals.fits.uni import fit_uni

FITS = {
    "logistic": fit_planned,
    "ridge": fit_planned,
    "knn": fit_planned,
    "eva_linear": fit_eva_linear,
    "abmil": fit_abmil,
    "uni_logreg": fit_uni,
    "hest_ridge": fit_hest,
}
