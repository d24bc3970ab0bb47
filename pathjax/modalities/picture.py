"""From rows with labels to the picture of them: what `pathjax figure tsne` does.

Subject -> reduced, projected, neighbourhoods measured -> Picture
"""

import importlib.metadata

import numpy as np

import pathjax
from pathjax.modalities.projection import project, purity, reduced
from pathjax.modalities.scatter import Picture
from pathjax.modalities.subject import Subject

LIBRARY = {"tsne": "openTSNE", "umap": "umap-learn"}


def make_picture(
    subject: Subject, by: str, *, method: str = "tsne", seed: int = 0
) -> Picture:
    """Projects and measures.

    Args:
      subject: what is shown.
      by: the target's name, for the title.
      method: "tsne" or "umap".
      seed: of the projection.

    Raises:
      ModalityError: too few rows, or the library is missing.
    """
    x = reduced(subject.features, standardise=subject.what == "rna")
    places = project(x, method, seed)
    labels, embedding, plane = subject.labels, None, None
    if np.issubdtype(labels.dtype, np.floating):
        known = np.isfinite(labels)
        number = labels[known]
        enough = known.sum() > 2
    else:
        known = np.array([one is not None for one in labels])
        number = np.unique(labels[known].astype(str), return_inverse=True)[1]
        enough = known.any() and number.max() > 0
    if enough:
        patient = subject.patient[known]
        embedding = purity(x[known], number, patient)
        plane = purity(places[known], number, patient)
    made = "; synthetic" if subject.synthetic else ""
    return Picture(
        title=f"{subject.what} of {subject.cohort}, by {by} ({len(x)} rows{made})",
        method=method,
        places=places,
        labels=labels,
        ids=subject.ids,
        embedding=embedding,
        plane=plane,
        about={
            "of": subject.what,
            "by": by,
            "cohort": subject.cohort,
            "synthetic": subject.synthetic,
            "seed": seed,
            "features": subject.features.shape[1],
            "components": x.shape[1],
            "versions": {
                "pathjax": pathjax.__version__,
                LIBRARY[method]: importlib.metadata.version(LIBRARY[method]),
            },
        },
    )
