"""A reference of samples with known expression, searched by similarity.

    reference study -> training patients' samples -> expression tower -> bank [m, D]
    features of tiles -> image tower -> similarity to the bank -> nearest samples
                                                              -> weighted mean expression

A contrastive model has no head that predicts expression; it ranks reference samples for
an image. The prediction is the mean expression of the nearest ones, weighted by softmax
of similarity over the model's own temperature, as Xie et al. (BLEEP, NeurIPS 2023)
average over the nearest 50. The query's own patient is left out.
"""

import dataclasses
import functools
import logging
from pathlib import Path

import jax
import numpy as np
import scipy.sparse
from jaxtyping import Float, Int

from pathjax import objectives
from pathjax.data.expression import GenePanel, select
from pathjax.data.study import Study
from pathjax.data.text_store import TextEmbeddings
from pathjax.evals.audit import barcodes
from pathjax.models.model_file import Model
from pathjax.models.towers import MAX_LOG_SCALE
from pathjax.predict import PredictError
from pathjax.predict.heads import build, in_blocks, panel_of

AT_ONCE = 1024  # queries
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The nearest of the bank, best first; -1 where fewer were allowed.

    Attributes:
      row: `[n, k]` rows of the bank.
      similarity: `[n, k]` cosine, NaN where there is none.
    """

    row: Int[np.ndarray, "n k"]
    similarity: Float[np.ndarray, "n k"]


def person(patient: str, *ids: str) -> str:
    """Identity of a patient across studies: the TCGA barcode in any id, else the id."""
    known = barcodes([patient, *ids])
    return min(known) if known else patient


def reference_rows(
    study: Study, model: Model, part: str | None
) -> tuple[list[str], str]:
    """Sample ids of the bank and, in words, which they are.

    Args:
      study: The reference.
      model: Whose training patients are taken when `part` is None.
      part: SPLIT:FOLD of the study, or "all".

    Raises:
      PredictError: `part` has another form, or no sample is left.
    """
    expression = study.expression()
    ids = study.samples["sample_id"]
    if part == "all":
        described = "all its samples"
    elif part is not None:
        split, colon, fold = part.partition(":")
        if not colon:
            raise PredictError(
                f"--reference-part: expected SPLIT:FOLD of the study, or all, got {part!r}"
            )
        described = f"split {split}, fold {fold}"
        ids = ids.iloc[study.fold_samples(split, fold)]
    else:
        seen = [
            stage
            for stage in model.meta["audit"]
            if stage["fingerprint"] == study.fingerprint or stage["study"] == study.name
        ]
        if not seen:
            raise PredictError(
                f"the model was not trained on study {study.name}: name the part of "
                "it to retrieve from with --reference-part SPLIT:FOLD, or all"
            )
        slides = {one for stage in seen for one in stage["slides"]}
        inside = study.runs["slide_id"].astype(str).isin(slides)
        ids = ids[ids.isin(study.runs["sample_id"][inside])]
        described = f"the {len(slides)} slides that the model was trained on"
    kept = [one for one in ids if one in expression.obs_names]
    if not kept:
        raise PredictError(
            f"reference {study.name} has no sample with expression in {described}"
        )
    return kept, f"{study.name}, {described}: {len(kept)} samples"


class Bank:
    """Reference samples in the model's shared space.

    Args:
      model: A contrastive one.
      study: With expression of the model's genes.
      part: See `reference_rows`.
      neighbours: Number of samples that a prediction is the mean of.
      own_patient: Let a query retrieve its own patient's samples.
      text: Embeddings of the reference's reports, for a model with a text tower.
      vectors: File of the samples' vectors, in place of that of training.

    Attributes:
      samples, patients: Ids.
      people: Identity of each sample's patient (`person`).
      described: The bank, in words.
      unit, means: As in heads.Regression.
    """

    def __init__(
        self,
        model: Model,
        study: Study,
        part: str | None = None,
        *,
        neighbours: int = 50,
        own_patient: bool = False,
        text: TextEmbeddings | None = None,
        vectors: Path | None = None,
    ):
        panel = panel_of(model)
        objective, params = build(model, vectors)
        if "temperature" not in params:
            raise PredictError(
                "the model was trained without the pair of image and expression "
                "(objective.image_expression=0): it cannot retrieve expression"
            )
        self._predict = functools.partial(objectives.predicted, objective, params)
        self.samples, self.described = reference_rows(study, model, part)
        table = study.samples.set_index("sample_id").loc[self.samples]
        self.patients = table["patient_id"].astype(str).tolist()
        people = map(person, self.patients, self.samples)
        self.people = np.array(list(people), object)
        self._profiles = select(study.expression(), self.samples, panel.genes)
        width = model.vit.embed_dim
        genes = panel.normalise(self._profiles)
        given = {"expression": genes}
        table = objective.sample_vectors(study)
        if table is not None:
            given["vectors"], has = table.align(self.samples)
            if not has.all():
                raise PredictError(
                    f"{(~has).sum()} of {len(has)} samples of the reference, first "
                    f"{self.samples[int(np.argmin(has))]!r}, have no vector: embed them "
                    "too, and name the file by --reference-vectors"
                )
        self._z = {"expression": self._embed(width, "expression", **given)}
        self._has = {"expression": np.ones(len(genes), bool)}
        if text is not None:
            expected = model.meta["objective"].get("text_dim", 0)
            if text.values.shape[1] != expected:
                raise PredictError(
                    f"--reference-text has {text.values.shape[1]} dimensions, and the "
                    f"model {f'takes {expected}' if expected else 'has no text tower'}: "
                    "embed the reports as for training, or leave out the option"
                )
            rows, self._has["text"] = text.align(self.samples)
            self._z["text"] = self._embed(width, "text", text=rows)
        if neighbours > len(self.samples):
            words = (
                "--neighbours %d: the reference has only %d samples; all are averaged"
            )
            log.warning(words, neighbours, len(self.samples))
        self._neighbours = min(neighbours, len(self.samples))
        self._own = own_patient
        # Of shape [1] in model files that were written before scalars were kept;
        # clipped as the loss clips it.
        log_scale = np.asarray(params["temperature"]["log_scale"]).item()
        self._sharpness = float(np.exp(min(log_scale, MAX_LOG_SCALE)))
        self.unit = GenePanel.from_json(model.meta["panel"]).unit
        self.means = (
            f"retrieval, no regression: mean of the {self._neighbours} reference "
            f"samples most similar to the image, weighted by softmax of cosine "
            f"similarity times {self._sharpness:.3g}; reference {self.described}; "
            + ("the query's own patient " + ("included" if own_patient else "left out"))
        )

    def _tower(self, name: str):
        """Batch to rows in the shared space; XLA drops the other towers."""
        return jax.jit(lambda batch: {"z": self._predict(batch)[f"z_{name}"]})

    def _embed(self, width: int, modality: str, **rows: Float[np.ndarray, "m F"]):
        """The bank through one tower."""
        count = len(rows[modality])
        blank = np.zeros((count, 1, width), np.float32)
        return in_blocks(self._tower(modality), count, embedding=blank, **rows)["z"]

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the bank can be searched by."""
        return tuple(self._z)

    @functools.cached_property
    def _image_tower(self):
        return self._tower("image")

    def image(self, features: Float[np.ndarray, "n E"]) -> Float[np.ndarray, "n D"]:
        """Tiles in the shared space, each as a sample of its own."""
        tiles = features[:, None]
        return in_blocks(self._image_tower, len(features), embedding=tiles)["z"]

    def pooled(self, features: Float[np.ndarray, "K E"]) -> Float[np.ndarray, "1 D"]:
        """All tiles of one slide in the shared space, aggregated as in training."""
        batch = {"embedding": features[None], "mask": np.ones(1, bool)}
        return np.asarray(self._predict(batch)["z_image"])

    def nearest(
        self,
        z: Float[np.ndarray, "n D"],
        people: list[str],
        k: int,
        by: str = "expression",
    ) -> Nearest:
        """The k nearest reference samples of each query.

        Args:
          z: Queries in the shared space.
          people: Patient of each query (`person`); "" where unknown.
          k: Number of samples.
          by: One of `modalities`.

        Raises:
          PredictError: All samples are of the query's patient.
        """
        k = min(k, len(self.samples))
        row = np.full((len(z), k), -1)
        similarity = np.full((len(z), k), np.nan)
        people = np.array(people, object)
        for start in range(0, len(z), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            cosine = z[part] @ self._z[by].T
            cosine[:, ~self._has[by]] = -np.inf
            if not self._own:
                cosine[people[part, None] == self.people[None]] = -np.inf
            lonely = np.flatnonzero(np.isneginf(cosine).all(axis=1))
            if len(lonely):
                raise PredictError(
                    f"all {self._has[by].sum()} reference samples with {by} are of "
                    f"patient {people[part][lonely[0]]}, as the query is: use a reference "
                    "with other patients, or pass --own-patient (which flatters)"
                )
            best = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
            value = np.take_along_axis(cosine, best, axis=1)
            # Ties in the bank's order, so that the same call gives the same rows.
            order = np.lexsort((best, -value), axis=1)
            best, value = (np.take_along_axis(a, order, axis=1) for a in (best, value))
            allowed = np.isfinite(value)
            row[part] = np.where(allowed, best, -1)
            similarity[part] = np.where(allowed, value, np.nan)
        return Nearest(row, similarity)

    def __call__(
        self, features: Float[np.ndarray, "n E"], places: list[int], people: list[str]
    ) -> Float[np.ndarray, "n g"]:
        """Expression of the genes at `places` of the panel, by retrieval."""
        nearest = self.nearest(self.image(features), people, self._neighbours)
        allowed = nearest.row >= 0
        logits = np.where(allowed, self._sharpness * nearest.similarity, -np.inf)
        weight = np.exp(logits - logits[:, :1])  # best first, so that none overflows
        weight /= weight.sum(axis=1, keepdims=True)
        query = np.nonzero(allowed)[0]
        spread = scipy.sparse.csr_matrix(
            (weight[allowed], (query, nearest.row[allowed])),
            shape=(len(features), len(self.samples)),
        )
        return np.asarray(spread @ self._profiles[:, places], np.float32)
