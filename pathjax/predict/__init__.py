"""Expression from images alone: a trained model, and slides that have no RNA.

    slide_tiles.py  a whole-slide file -> tiles as the model wants them
    tiles.py        a study, a folder or a slide -> its tiles and where they lie
    genes.py        which genes, under which names, and how far they can be trusted
    heads.py        embeddings -> expression by a regression head, with its unit
    bank.py         embeddings -> expression of the most similar reference samples
    nearest.py      the reference samples and reports nearest to a tile or a slide
    annotated.py    predictions -> AnnData, in blocks
    pictures.py     a slide at low magnification
    maps.py         one gene over the slide
    measured.py     predicted beside measured
    outputs.py      everything that is written
    options.py      what can be asked for
    run.py          all of it, to be repeated after an interruption

Nothing here trains or probes. docs/predict.md says what the numbers mean.
"""
