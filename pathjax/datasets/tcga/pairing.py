"""Pairs slides with RNA, patient by patient, and lists everything without a partner.

    slide table, obs of the RNA -> pair -> slides, aliquots of each patient, unmatched

Slides and RNA of one sample type are paired; all slides of a patient are used and their
tiles pooled, the aliquots are in the order of their barcodes (HE2RNA, Schmauch et al.
2020, uses the first), FFPE after frozen. docs/tcga.md has the rules and their reasons.
"""

import collections
import dataclasses
from collections.abc import Collection
from pathlib import PurePath

import pandas as pd

from pathjax.data.tcga_barcodes import Barcode, find
from pathjax.datasets.tcga.tables import TcgaError


@dataclasses.dataclass(frozen=True)
class Pairing:
    """Slides and RNA of the same tumours.

    Attributes:
      slides: The rows of the slide table that are used, with patient_id, sample_id (the
        patient's) and site from their barcodes.
      aliquots: Patient to the names of its RNA rows, in the order of their barcodes.
      unmatched: what ("slide" or "RNA"), id, patient, reason, and `kept`: True for a
        slide that is in the study without RNA.
    """

    slides: pd.DataFrame
    aliquots: dict[str, tuple[str, ...]]
    unmatched: pd.DataFrame


def pair(
    slides: pd.DataFrame,
    obs: pd.DataFrame,
    *,
    frozen: bool = False,
    keep_unpaired: bool = False,
) -> Pairing:
    """Applies the rules of docs/tcga.md.

    Args:
      slides: A study's slide table; slides that were skipped are unmatched.
      obs: Of the RNA (`pathjax data tcga-rna`): index unique, columns case_id and
        sample_type, and aliquot where known.
      frozen: Use frozen sections too.
      keep_unpaired: Keep the slides of patients without RNA, for labels alone.

    Raises:
      TcgaError: The RNA lacks a column or has a row twice, or no slide is left, with
        the commonest reasons.
    """
    unmatched: list[tuple[str, str, str, str, bool]] = []
    by_type: dict[str, dict[str, list[int]]] = collections.defaultdict(dict)
    barcodes: dict[int, Barcode] = {}
    for place, slide in enumerate(slides.to_dict("records")):
        try:
            barcode = _barcode(slide, frozen)
        except ValueError as error:
            patient = str(slide["patient_id"])
            unmatched.append(("slide", slide["slide_id"], patient, str(error), False))
            continue
        barcodes[place] = barcode
        by_type[barcode.patient].setdefault(barcode.sample_type, []).append(place)
    rna = _rna(obs, unmatched)

    used: list[int] = []
    aliquots: dict[str, tuple[str, ...]] = {}
    for patient in sorted({*by_type, *rna}):
        with_slides, with_rna = by_type.get(patient, {}), rna.get(patient, {})
        both = sorted(set(with_slides) & set(with_rna))
        paired = both[0] if both else None
        alone = min(with_slides, default=None) if keep_unpaired and not both else None
        for kind, places in with_slides.items():
            keep = kind in (paired, alone)
            used += places if keep else []
            if kind != paired:
                reason = _alone(kind, paired, "RNA", with_rna)
                ids = slides["slide_id"].iloc[places]
                unmatched += [("slide", name, patient, reason, keep) for name in ids]
        for kind, names in with_rna.items():
            if kind == paired:
                aliquots[patient] = tuple(names)
                continue
            reason = _alone(kind, paired, "slide", with_slides)
            unmatched += [("RNA", name, patient, reason, False) for name in names]
    table = pd.DataFrame(
        unmatched, columns=["what", "id", "patient", "reason", "kept"]
    ).astype({"kept": bool})
    # Slides first: there is often much more RNA than slides.
    table = table.sort_values("what", ascending=False, kind="stable", ignore_index=True)
    if not used:
        reasons = table["reason"].value_counts().head(5)
        listed = "; ".join(f"{count} x {text}" for text, count in reasons.items())
        raise TcgaError(f"no slide can be paired with RNA: {listed or 'no slides'}")
    used.sort()
    patients = [barcodes[place].patient for place in used]
    kept = slides.iloc[used].assign(
        patient_id=patients,
        sample_id=patients,
        site=[barcodes[place].site for place in used],
    )
    return Pairing(kept.reset_index(drop=True), aliquots, table)


def _barcode(slide: dict[str, object], frozen: bool) -> Barcode:
    """The barcode of a slide that can be paired."""
    if slide["status"] != "tiled":
        raise ValueError(f"was not tiled: {slide['reason']}")
    barcode = None
    for name in (slide["slide_id"], PurePath(str(slide["path"] or "")).name):
        try:
            barcode = find(str(name))
        except ValueError:
            continue
        if barcode.sample_type:
            break
    if barcode is None:
        raise ValueError(
            "neither its id nor its file name holds one patient's TCGA barcode"
        )
    patient = str(slide["patient_id"])
    if patient.startswith("TCGA-") and patient[:12] != barcode.patient:
        raise ValueError(f"is said to be of {patient}, its name says {barcode.patient}")
    if not barcode.sample_type:
        raise ValueError(
            "its name has no sample type, such as 01 in TCGA-3C-AALI-01Z-00-DX1"
        )
    if not barcode.is_tumour:
        raise ValueError(_not_tumour(barcode.sample_type))
    if barcode.is_frozen and not frozen:
        raise ValueError("a frozen section; taken only if asked for (--frozen)")
    if not (barcode.is_frozen or barcode.is_diagnostic):
        raise ValueError(
            "its name does not say whether it is diagnostic (DX) or frozen (TS, BS)"
        )
    return barcode


def _rna(
    obs: pd.DataFrame, unmatched: list[tuple[str, str, str, str, bool]]
) -> dict[str, dict[str, list[str]]]:
    """Patient to sample type to row names in the order of barcodes."""
    lacking = [name for name in ("case_id", "sample_type") if name not in obs]
    if lacking or not obs.index.is_unique:
        what = f"lacks the columns {', '.join(lacking)}" if lacking else "repeats a row"
        raise TcgaError(
            f"the RNA {what}: make it with `pathjax data tcga-rna`, which names rows "
            "by sample and fills case_id and sample_type"
        )
    rows = pd.DataFrame({"name": obs.index.astype(str), "aliquot": ""})
    for name in ("case_id", "sample_type", "aliquot"):
        if name in obs:
            rows[name] = obs[name].astype(str).to_numpy()
    rows["ffpe"] = False
    if "preservation" in obs:
        rows["ffpe"] = (obs["preservation"].astype(str) == "FFPE").to_numpy()
    found: dict[str, dict[str, list[str]]] = collections.defaultdict(dict)
    for row in rows.sort_values(["ffpe", "aliquot", "name"]).itertuples():
        kind = row.sample_type
        if "01" <= kind <= "09":
            found[row.case_id].setdefault(kind, []).append(row.name)
            continue
        reason = _not_tumour(kind) if kind else "its sample type is not known"
        unmatched.append(("RNA", row.name, row.case_id, reason, False))
    return found


def _not_tumour(kind: str) -> str:
    what = "normal tissue" if "10" <= kind <= "19" else "no tumour"
    return f"{what} (sample type {kind}); never paired with a tumour"


def _alone(kind: str, paired: str | None, other: str, types: Collection[str]) -> str:
    """Why a sample type of a patient is not paired."""
    if paired is not None:
        return f"sample type {kind}; the patient is paired by {paired}"
    if not types:
        return f"no {other} of this patient"
    return f"no {other} of sample type {kind}, only of {', '.join(sorted(types))}"
