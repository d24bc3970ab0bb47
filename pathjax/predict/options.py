"""What a prediction is asked for; the command line's words are the fields' names."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Options:
    """What is wanted.

    Attributes:
      genes: names with commas, or a file of names; None is the whole panel.
      split, fold: part of a study.
      mpp: of the model's input, where the checkpoint does not say it, or to go before.
      slide_mpp: of a slide's level 0, where its file does not say it.
      min_tissue: share of a slide's tile that has to be tissue.
      reference, reference_part: study to retrieve from, and SPLIT:FOLD of it or "all".
      reference_text: embeddings of its reports, for a model with a text tower.
      neighbours: how many samples a retrieved expression is the mean of.
      own_patient: let a query retrieve its own patient.
      nearest: how many neighbours are listed.
      measured: compare with the study's expression.
      validation: genes.csv of a measured prediction, to say how far genes can be
        trusted; RUN/genes.csv is taken where it is there.
      pictures: folder with a picture of each slide at level 0.
      max_maps: how many maps are drawn at most.
      batch, threads: tiles per step, reading threads.
      overwrite: replace what another model or input left.
    """

    genes: str | None = None
    split: str | None = None
    fold: str | None = None
    mpp: float | None = None
    slide_mpp: float | None = None
    min_tissue: float = 0.35
    reference: Path | None = None
    reference_part: str | None = None
    reference_text: Path | None = None
    neighbours: int = 50
    own_patient: bool = False
    nearest: int = 5
    measured: bool = False
    validation: Path | None = None
    pictures: Path | None = None
    max_maps: int = 20
    batch: int = 64
    threads: int = 2
    overwrite: bool = False
