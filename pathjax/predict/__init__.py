"""Expression from images alone, by a trained model, on slides that have no RNA.

    tiles.py      a study, a folder or a slide -> its tiles and where they are
    slide_tiles.py  the tiles of a slide, read when needed
    genes.py      which genes, under which names, and how reliable each is
    heads.py      embeddings -> expression by a regression head, with its unit
    bank.py       embeddings -> expression of the most similar reference samples
    annotated.py  predictions -> AnnData, in blocks
    maps.py       a slide at low magnification, one gene over it
    measured.py   predicted beside measured
    options.py    what can be chosen
    outputs.py    everything that is written
    run.py        all of it, resumable

Nothing here trains or evaluates. docs/predict.md says what the numbers mean.
"""


class PredictError(ValueError):
    """A model, input, gene list or reference that cannot be used; says which and why."""
