"""`predict`: a checkpoint and slides to expression, AnnData, maps and neighbours.

    checkpoint, input, genes, reference -> checked, before anything is computed
    input -> embeddings.h5 (resumed) -> outputs.py

The expensive part, the encoder, goes through `embed_to_file`, which resumes after an
interruption. All other files are written anew and atomically.
"""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from pathjax.buckets import local
from pathjax.data.study import Study
from pathjax.data.text_store import read_text
from pathjax.embeddings.cache import identity
from pathjax.embeddings.embed import Embedded, embed_to_file
from pathjax.evals.audit import overlap
from pathjax.models.model_file import Model, load_model
from pathjax.parallel.shard import Shard
from pathjax.predict import PredictError
from pathjax.predict.bank import Bank
from pathjax.predict.genes import Validation, chosen, gene_table, read_validation
from pathjax.predict.heads import Regression, build, panel_of
from pathjax.predict.options import Options
from pathjax.predict.outputs import Outputs, Predicted
from pathjax.predict.tiles import Input, open_input, view_of


def predict(
    checkpoint: str | Path,
    target: str | Path,
    out: str | Path,
    options: Options | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    shard: Shard | None = None,
) -> Predicted | Embedded:
    """Predicts expression of every tile.

    Args:
      checkpoint: Run folder or model.safetensors that predicts expression, or retrieves
        it from a reference.
      target: A study, a folder of tiles, or a whole-slide file.
      out: Folder for the output.
      options: What can be chosen.
      progress: Called with (tiles embedded, tiles in all).
      shard: Embed only this part of the tiles and write nothing else. A call without
        one, when all are there, joins them and predicts.

    Raises:
      PredictError: The model, genes, input or reference cannot be used.
      StudyError, SlideError: The input cannot be read.
      EmbeddingError: `out` is of another model or input, or a feature is not finite.
    """
    options, out = options or Options(), local(out)
    model = load_model(checkpoint)
    panel = panel_of(model)
    places = chosen(panel, options.genes)
    _check(model, options)
    validation = _validation(local(checkpoint), options)
    if options.validation and not set(validation.r) & set(panel.genes):
        raise PredictError(
            f"{options.validation} has no gene of the model, such as {panel.genes[0]}"
        )
    var = gene_table(panel, places, validation)
    given = open_input(
        target,
        view_of(model, options.mpp),
        split=options.split,
        fold=options.fold,
        slide_mpp=options.slide_mpp,
        min_tissue=options.min_tissue,
    )
    if options.measured and (given.study is None or not given.study.has_expression):
        raise PredictError(
            f"--measured: {given.source.name} has no expression to compare with; "
            "expected a study with expression.h5ad"
        )
    if options.pictures and given.study is None:
        raise PredictError(
            f"--pictures: they are for the slides of a study, and {given.source.name} is "
            "none: leave it out"
        )
    head = _head(model, options)
    audit, shared = audited(model, given)
    embedded = embed_to_file(
        model,
        given.source,
        out / "embeddings.h5",
        model_id=identity(checkpoint),
        batch=options.batch,
        threads=options.threads,
        overwrite=options.overwrite,
        shard=shard,
        progress=progress,
    )
    if shard:
        return embedded
    broken = {entry["what"] for entry in embedded.skipped}
    if given.source.kind == "images":
        with h5py.File(out / "embeddings.h5") as file:  # NaN where sizes differ
            side = float(file["coords"].attrs.get("patch_size", np.nan))
        given = given.embedded(broken, side)
    notes = list(given.notes)
    if broken:
        first = embedded.skipped[0]
        notes.append(
            f"{len(broken)} images could not be read and are left out, first "
            f"{first['what']}: {first['reason']}"
        )
    work = Outputs(model, given, options, out, head, places, var, audit, shared)
    return work.write(identity(checkpoint), notes)


def _check(model: Model, options: Options) -> None:
    name, (objective, _) = model.meta["objective"]["name"], build(model)
    if not objective.predicts_expression and options.reference is None:
        raise PredictError(
            f"a model of objective {name} has no head for expression, it retrieves: "
            "name a study with expression by --reference"
        )
    if not objective.shares_space and options.reference is not None:
        raise PredictError(
            f"a model of objective {name} predicts by itself and cannot retrieve: "
            "leave out --reference"
        )


def _head(model: Model, options: Options) -> Regression | Bank:
    if options.reference is None:
        return Regression(model)
    return Bank(
        model,
        Study(options.reference),
        options.reference_part,
        neighbours=options.neighbours,
        own_patient=options.own_patient,
        text=options.reference_text and read_text(options.reference_text),
        vectors=options.reference_vectors,
    )


def _validation(checkpoint: Path, options: Options) -> Validation:
    beside_run = checkpoint / "genes.csv"
    if options.validation is not None:
        return read_validation(options.validation)
    return read_validation(beside_run) if beside_run.is_file() else Validation()


def audited(model: Model, given: Input) -> tuple[str, set[str]]:
    """Training patients among the input's, in words and as a set."""
    history = model.meta.get("audit") or []
    if not history:
        return "unknown: the checkpoint does not record its training patients", set()
    shared = overlap(history, given.ids)
    people = sorted({*shared["patients"], *shared["barcodes"]})
    if not people and not shared["slides"]:
        if not given.ids["patient_id"].astype(bool).any():
            return "unknown: these tiles have no patient ids", set()
        return "clean: no patient of these was trained on", set()
    more = f" and {len(people) - 10} more" if len(people) > 10 else ""
    slides = len(shared["slides"])
    where = f"; {slides} of the same slides" if slides else ", though on other slides"
    return (
        f"TRAINED ON: patients {', '.join(people[:10])}{more}{where}. These "
        "predictions flatter the model"
    ), set(people)
