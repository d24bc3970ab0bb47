"""A cohort from a study and embedding files, or from RNA and tables of labels alone.

    STUDY [+ FILE.h5 of tiles] [+ FILE.h5 of texts]  -> from_study  -> Cohort
    RNA.h5ad + tables of labels (no slides)           -> from_tables -> Cohort

Nothing is fitted here.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse

from pathjax.data.measured import is_partial
from pathjax.data.study import Study, listing, sha256
from pathjax.data.text_store import read_text
from pathjax.datasets.tcga.labels import Labels, read_labels, targets_of
from pathjax.embeddings.embedding_file import read_embeddings
from pathjax.files import reading, told_apart
from pathjax.modalities.cohort import Cohort, Modality, ModalityError


def from_study(
    study: Study,
    *,
    slide: Path | None = None,
    text: Path | None = None,
    rna: Path | None = None,
) -> Cohort:
    """The samples of a study.

    Args:
      study: Its targets of samples are the targets; its expression is RNA.
      slide: Embedding file of its tiles; a sample's features are their mean.
      text: Embedding file of its reports.
      rna: AnnData whose rows are its samples, in place of its own expression.

    Raises:
      ModalityError: Nothing is left of a modality.
      EmbeddingError, TextError: A file is not of this study.
    """
    samples = study.samples.copy()
    samples["sample_id"] = samples["sample_id"].astype(str)
    ids = pd.Index(samples["sample_id"])
    files = {"slide": slide, "text": text, "rna": rna}
    modalities, notes = [], []
    if slide is not None:
        modalities.append(_slides(study, ids, slide))
    if rna is not None:
        data = _read_anndata(rna)
        modalities.append(_rna(data, ids, str(rna)))
        notes += _unused(data.obs_names, ids, f"rows of {rna}", "sample of the study")
    elif study.has_expression:
        modalities.append(_rna(study.expression(), ids, "the study's expression"))
    if text is not None:
        texts = read_text(text)
        values, present = texts.align(list(ids))
        rows = np.flatnonzero(present)
        modalities.append(Modality("text", rows, values[rows], about=str(text)))
        what = f"texts of {text}"
        notes += _unused(texts.sample_ids, ids, what, "sample of the study")
    targets = {
        name: one for name, one in study.targets.items() if one.level == "sample"
    }
    return Cohort(
        name=study.name,
        samples=samples,
        targets=targets,
        modalities={modality.name: modality for modality in modalities},
        synthetic=study.synthetic,
        provenance={
            "study": study.name,
            "fingerprint": study.fingerprint,
            **{name: _record(path) for name, path in files.items() if path is not None},
        },
        notes=tuple(notes),
    )


def from_tables(
    rna: Path,
    labels: Sequence[Path],
    *,
    sequenced: Path | None = None,
    mutations: Sequence[str] = (),
) -> Cohort:
    """The patients of bulk RNA, without slides; a row each.

    Args:
      rna: Of `pathjax data tcga-rna`; of several tumour samples of a patient the first
        is taken, by sample type, FFPE last, and then by barcode, as `pathjax data tcga`
        does.
      labels: Tables and MAFs, as `pathjax data tcga` takes them.
      sequenced, mutations: As there.

    Raises:
      ModalityError: The RNA has no tumour sample.
      TcgaError: A table cannot be read.
    """
    data = _read_anndata(rna)
    order = ["case_id", "sample_type", "aliquot"]
    lacking = [name for name in order if name not in data.obs]
    if lacking:
        raise ModalityError(
            f"{rna}: expected a file of `pathjax data tcga-rna`, got one whose rows lack "
            f"{', '.join(lacking)}"
        )
    obs = data.obs.astype(str)
    obs["row"] = np.arange(len(obs))
    tumours = obs[obs["sample_type"].between("01", "09")]
    tumours = tumours.assign(ffpe=tumours.get("preservation", "") == "FFPE")
    order.insert(2, "ffpe")
    first = tumours.sort_values(order, kind="stable").drop_duplicates("case_id")
    if not len(first):
        raise ModalityError(f"{rna} has no tumour sample (types 01 to 09)")
    read = read_labels(labels, sequenced, mutations)
    table, notes = read.table, label_notes(read)
    known = table.reindex(first["case_id"])
    kept = [name for name in known.columns if not name.endswith("_source")]
    samples = pd.DataFrame(
        {
            "sample_id": first["case_id"].to_numpy(),
            "patient_id": first["case_id"].to_numpy(),
            **{label: known[label].to_numpy() for label in kept},
        }
    )
    targets = {target.name: target for target in targets_of(samples)}
    used = data[first["row"].to_numpy()]
    used.obs_names = first["case_id"].to_numpy()
    return Cohort(
        name=rna.stem,
        samples=samples,
        targets=targets,
        modalities={"rna": _rna(used, pd.Index(samples["sample_id"]), str(rna.name))},
        provenance={
            "rna": _record(rna),
            "x": str(data.uns.get("pathjax", {}).get("x", "")),
            "labels": {name: sha256(one) for one, name in told_apart(labels).items()},
        },
        notes=(
            *notes,
            *_unused(table.index, first["case_id"], "patients of the labels", "RNA"),
        ),
    )


def label_notes(read: Labels) -> list[str]:
    """What of the labels is not used, and what is left empty, a sentence each."""
    notes = []
    if read.unused:
        named = listing([f"{what}: {why}" for what, why in read.unused])
        notes.append(f"{len(read.unused)} parts of the labels are not used: {named}")
    if len(read.conflicts):
        pairs = read.conflicts[["patient", "label"]].drop_duplicates()
        named = listing([" ".join(pair) for pair in pairs.to_numpy().tolist()])
        notes.append(
            f"{len(pairs)} labels on which the files disagree are left empty: {named}"
        )
    return notes


def _read_anndata(path: Path) -> anndata.AnnData:
    with reading(path, ModalityError, "AnnData"):
        return anndata.read_h5ad(path)


def _unused(given: Iterable, used: Iterable, what: str, lacking: str) -> list[str]:
    """A note of ids that were given and match nothing, the first three by name."""
    left = sorted(set(map(str, given)) - set(map(str, used)))
    if not left:
        return []
    named = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
    return [f"{len(left)} {what} have no {lacking} and are left out: {named}"]


def _record(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": sha256(path)}


def _slides(study: Study, ids: pd.Index, path: Path) -> Modality:
    features = read_embeddings(path, study).features
    owner = ids.get_indexer(study.tiles["sample_id"].astype(str))
    inside = owner >= 0
    count = np.bincount(owner[inside], minlength=len(ids))
    total = np.zeros((len(ids), features.shape[1]))
    np.add.at(total, owner[inside], features[inside])
    rows = np.flatnonzero(count)
    mean = (total[rows] / count[rows, None]).astype(np.float32)
    return Modality("slide", rows, mean, about=f"mean of the tiles' rows in {path}")


def _rna(data: anndata.AnnData, ids: pd.Index, about: str) -> Modality:
    names = pd.Index(data.obs_names.astype(str))
    if not names.is_unique:
        twice = names[names.duplicated()].unique()
        raise ModalityError(
            f"{about}: {len(twice)} ids occur twice, first {', '.join(twice[:3])}"
        )
    if is_partial(data):
        raise ModalityError(
            f"{about}: samples were measured for different genes, which cannot be "
            "compared here: build the study with --genes-join inner"
        )
    place = names.get_indexer(ids)
    rows = np.flatnonzero(place >= 0)
    x = data.X[place[rows]]
    x = x.toarray() if scipy.sparse.issparse(x) else np.asarray(x)
    genes = tuple(map(str, data.var_names))
    return Modality("rna", rows, x.astype(np.float32), genes, about)
