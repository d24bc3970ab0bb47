"""A cohort from a study and embedding files, or from RNA and tables of labels alone.

    STUDY [+ FILE.h5 of tiles] [+ FILE.h5 of texts]  -> from_study  -> Cohort
    RNA.h5ad + tables of labels (no slides)           -> from_tables -> Cohort

Nothing is fitted here.
"""

from collections.abc import Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse

from pathjax.data.study import Study, Target, sha256
from pathjax.data.text_store import read_text
from pathjax.datasets.tcga.labels import read_labels
from pathjax.datasets.tcga.vocabulary import CLASSES, DESCRIPTIONS
from pathjax.embeddings.embedding_file import read_embeddings
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
      study: its targets of samples are the targets; its expression is RNA.
      slide: embedding file of its tiles; a sample's features are their mean.
      text: embedding file of its reports.
      rna: AnnData whose rows are its samples, in place of its own expression.

    Raises:
      ModalityError: nothing is left of a modality.
      EmbeddingError, TextError: a file is not of this study.
    """
    samples = study.samples.copy()
    samples["sample_id"] = samples["sample_id"].astype(str)
    ids = pd.Index(samples["sample_id"])
    modalities = []
    if slide is not None:
        modalities.append(_slides(study, ids, slide))
    if rna is not None:
        modalities.append(_rna(anndata.read_h5ad(rna), ids, str(rna)))
    elif study.has_expression:
        modalities.append(_rna(study.expression(), ids, "the study's expression"))
    if text is not None:
        modalities.append(_texts(ids, text))
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
            **{
                name: {"file": path.name, "sha256": sha256(path)}
                for name, path in (("slide", slide), ("text", text), ("rna", rna))
                if path is not None
            },
        },
    )


def from_tables(
    rna: Path, labels: Sequence[Path], *, sequenced: Path | None = None
) -> Cohort:
    """The patients of bulk RNA, without slides; a row each.

    Args:
      rna: of `pathjax data tcga-rna`; of several tumour samples of a patient the first
        is taken, by sample type and then by barcode, as `pathjax data tcga` does.
      labels: tables and MAFs, as `pathjax data tcga` takes them.
      sequenced: as there.

    Raises:
      ModalityError: the RNA has no tumour sample.
      TcgaError: a table cannot be read.
    """
    data = anndata.read_h5ad(rna)
    obs = data.obs.astype(str)
    obs["row"] = np.arange(len(obs))
    tumours = obs[obs["sample_type"].between("01", "09")]
    order = ["case_id", "sample_type", "aliquot"]
    first = tumours.sort_values(order, kind="stable").drop_duplicates("case_id")
    if not len(first):
        raise ModalityError(f"{rna} has no tumour sample (types 01 to 09)")
    said = read_labels(labels, sequenced).table.reindex(first["case_id"])
    samples = pd.DataFrame(
        {
            "sample_id": first["case_id"].to_numpy(),
            "patient_id": first["case_id"].to_numpy(),
            **{label: said[label].to_numpy() for label in CLASSES},
        }
    )
    targets = {
        label: Target(label, "sample", "class", classes, DESCRIPTIONS[label])
        for label, classes in CLASSES.items()
        if samples[label].notna().any()
    }
    used = data[first["row"].to_numpy()]
    used.obs_names = first["case_id"].to_numpy()
    return Cohort(
        name=rna.stem,
        samples=samples,
        targets=targets,
        modalities={"rna": _rna(used, pd.Index(samples["sample_id"]), str(rna.name))},
        provenance={
            "rna": {"file": rna.name, "sha256": sha256(rna)},
            "x": str(data.uns.get("pathjax", {}).get("x", "")),
            "labels": {path.name: sha256(path) for path in labels},
        },
    )


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
    place = pd.Index(data.obs_names.astype(str)).get_indexer(ids)
    rows = np.flatnonzero(place >= 0)
    x = data.X[place[rows]]
    x = x.toarray() if scipy.sparse.issparse(x) else np.asarray(x)
    names = tuple(map(str, data.var_names))
    return Modality("rna", rows, x.astype(np.float32), names, about)


def _texts(ids: pd.Index, path: Path) -> Modality:
    values, present = read_text(path).align(list(ids))
    rows = np.flatnonzero(present)
    return Modality("text", rows, values[rows], about=str(path))
