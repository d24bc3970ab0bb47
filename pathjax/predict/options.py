"""What can be chosen in a prediction: the options of `pathjax predict`, with their bounds."""

import dataclasses
from pathlib import Path
from typing import Annotated

from pathjax.predict import PredictError


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of `pathjax predict`."""

    genes: Annotated[
        str | None,
        "genes to predict and map (default: the whole panel, without maps)",
        "A,B|FILE",
    ] = None
    split: Annotated[str | None, "predict a fold of a study only, with --fold"] = None
    fold: Annotated[str | None, "of --split"] = None
    mpp: Annotated[
        float | None, "um/px the model was trained at, if its file does not say"
    ] = None
    slide_mpp: Annotated[
        float | None, "um/px of the slide's level 0, if its file does not say"
    ] = None
    min_tissue: Annotated[float, "minimum share of tissue in a tile, 0 to 1"] = 0.35
    pictures: Annotated[
        Path | None,
        "folder of pictures, one per slide and of its name, that x and y refer to",
        "DIR",
    ] = None
    max_maps: Annotated[int, "maximum number of maps"] = 20
    validation: Annotated[
        Path | None,
        "scores of each gene, from an earlier run with --measured (default: those in "
        "the run folder, if any)",
        "GENES.csv",
    ] = None
    measured: Annotated[
        bool, "compare with measured expression, for a study that has it"
    ] = False
    reference: Annotated[
        Path | None, "contrastive models: study whose expression is retrieved", "STUDY"
    ] = None
    reference_part: Annotated[
        str | None,
        "part of that study (default: what the model was trained on)",
        "SPLIT:FOLD|all",
    ] = None
    reference_text: Annotated[
        Path | None,
        "of `pathjax text embed`: retrieve reports by the text tower too",
        "FILE.h5",
    ] = None
    reference_vectors: Annotated[
        Path | None,
        "for the gene tower `external`: vectors of its samples (default: the file that "
        "the model was trained on)",
        "FILE",
    ] = None
    neighbours: Annotated[int, "retrieved samples averaged per tile"] = 50
    nearest: Annotated[int, "retrieved samples listed per tile and slide"] = 5
    own_patient: Annotated[bool, "let a tile retrieve samples of its own patient"] = (
        False
    )
    batch: Annotated[int, "tiles per step"] = 64
    threads: Annotated[int, "reading threads"] = 2
    overwrite: Annotated[bool, "replace another model's or input's output"] = False

    def __post_init__(self):
        least = {"neighbours": 1, "nearest": 1, "max_maps": 0, "batch": 1, "threads": 1}
        problems = [
            f"--{name.replace('_', '-')}: expected at least {low}, got {value}"
            for name, low in least.items()
            if (value := getattr(self, name)) < low
        ]
        for name in ("mpp", "slide_mpp"):
            value = getattr(self, name)
            if value is not None and not 0.01 <= value <= 100:
                problems.append(
                    f"--{name.replace('_', '-')}: expected micrometres per pixel such as "
                    f"0.5, got {value}"
                )
        if not 0 <= self.min_tissue <= 1:
            problems.append(f"--min-tissue: expected 0 to 1, got {self.min_tissue}")
        if problems:
            raise PredictError("; ".join(problems))
