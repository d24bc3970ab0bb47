"""`predict`: a checkpoint and slides to expression, AnnData, maps and neighbours.

    checkpoint, input, genes, reference -> checked, before anything is computed
    input -> embeddings.h5 (resumed) -> outputs.py

The expensive part, the encoder, goes through `embed_to_file`, which an interrupted call
takes up where it stopped. All that follows is written anew, each file whole or not.
"""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from pathjax.data.study import Study
from pathjax.data.text_store import read_text
from pathjax.embeddings.cache import identity
from pathjax.embeddings.embed import embed_to_file
from pathjax.evals.audit import overlap
from pathjax.models.model_file import Model, load_model
from pathjax.predict.bank import Bank, person
from pathjax.predict.genes import Validation, chosen, gene_table, read_validation
from pathjax.predict.heads import HeadError, Regression, build, panel_of
from pathjax.predict.options import Options
from pathjax.predict.outputs import Outputs, Predicted
from pathjax.predict.tiles import Input, InputError, open_input, view_of


def predict(
    checkpoint: str | Path,
    target: str | Path,
    out: str | Path,
    options: Options | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Predicted:
    """Predicts expression of every tile.

    Args:
      checkpoint: run folder or model.safetensors, of objective regression or
        contrastive (which needs a reference).
      target: a study, a folder of tiles, or a whole-slide file.
      out: folder for what is written.
      options: what is wanted.
      progress: called with (tiles embedded, tiles in all).

    Raises:
      HeadError: the model has never seen expression.
      GeneError: genes that it does not predict, with the nearest.
      InputError, StudyError, SlideError, ImageFolderError: the input does not do.
      BankError: the reference does not do.
      EmbeddingError: `out` holds something else, or a feature is not finite.
    """
    options, out = options or Options(), Path(out)
    model = load_model(checkpoint)
    panel = panel_of(model)
    places = chosen(panel, options.genes)
    _check(model, options)
    var = gene_table(panel, places, _validation(Path(checkpoint), options))
    given = open_input(
        target,
        view_of(model, options.mpp),
        split=options.split,
        fold=options.fold,
        slide_mpp=options.slide_mpp,
        min_tissue=options.min_tissue,
    )
    if options.measured and (given.study is None or not given.study.has_expression):
        raise InputError(
            f"--measured: {given.source.name} has no expression to compare with; it is "
            "for a study with expression.h5ad"
        )
    head: Regression | Bank
    if options.reference is None:
        head = Regression(model)
    else:
        head = Bank(
            model,
            Study(options.reference),
            options.reference_part,
            neighbours=options.neighbours,
            own_patient=options.own_patient,
            text=options.reference_text and read_text(options.reference_text),
        )
    audit, shared = audited(model, given)

    embedded = embed_to_file(
        model,
        given.source,
        out / "embeddings.h5",
        model_id=identity(checkpoint),
        batch=options.batch,
        threads=options.threads,
        overwrite=options.overwrite,
        progress=progress,
    )
    work = Outputs(model, given, options, out, head, places, var, audit)
    broken = {entry["what"] for entry in embedded.skipped}
    keep = ~given.table["tile_id"].isin(broken).to_numpy()
    obs = given.table[keep].set_index("tile_id")
    obs.index.name = None
    if given.source.kind == "images":
        side = _side(out)
        obs["side"], obs["x"], obs["y"] = side, obs["x"] + side / 2, obs["y"] + side / 2
    whose = zip(obs["patient_id"], obs["slide_id"], strict=True)
    seen = {*shared}
    obs["in_training"] = [one in seen or person(one, of) in seen for one, of in whose]
    notes = list(given.notes)
    if broken:
        notes.append(f"{len(broken)} images could not be read and are left out")
    return work.write(obs, identity(checkpoint), notes)


def _side(out: Path) -> float:
    """The side of a folder's images, in their pixels; NaN where sizes differ."""
    with h5py.File(out / "embeddings.h5") as file:
        return float(file["coords"].attrs.get("patch_size", np.nan))


def _check(model: Model, options: Options) -> None:
    name, (objective, _) = model.meta["objective"]["name"], build(model)
    if not objective.predicts_expression and options.reference is None:
        raise HeadError(
            f"a model of objective {name} has no head for expression, it retrieves: "
            "name a study with expression by --reference"
        )
    if not objective.shares_space and options.reference is not None:
        raise HeadError(
            f"a model of objective {name} predicts by itself and cannot retrieve: "
            "leave out --reference"
        )


def _validation(checkpoint: Path, options: Options) -> Validation:
    beside_run = checkpoint / "genes.csv"
    if options.validation is not None:
        return read_validation(options.validation)
    return read_validation(beside_run) if beside_run.is_file() else Validation()


def audited(model: Model, given: Input) -> tuple[str, list[str]]:
    """What to say of training patients among the input's, and who they are."""
    history = model.meta.get("audit") or []
    if not history:
        return "unknown: the checkpoint does not say whom it was trained on", []
    found = overlap(history, given.table)
    people = sorted({*found["patients"], *found["barcodes"]})
    if not people and not found["slides"]:
        if not given.table["patient_id"].astype(bool).any():
            return "unknown: nobody says whose these tiles are", []
        return "clean: no patient of these was trained on", []
    told = f"TRAINED ON: patients {', '.join(people[:10])}"
    if len(people) > 10:
        told += f" and {len(people) - 10} more"
    if found["slides"]:
        told += f"; {len(found['slides'])} of the very slides"
    else:
        told += ", though on other slides of theirs"
    return f"{told}. These predictions flatter the model", people
