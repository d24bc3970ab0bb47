"""Pairs slides with RNA, patient by patient, and names everything that has no partner.

    slide table, obs of the RNA -> pair -> slides, aliquots of each patient, unmatched

The rules, in order (docs/tcga.md):

1. Whose and of what a slide is, its name says: the first 12 characters are the patient,
   the next two digits the sample type. A name without them is not guessed at.
2. Tumour is paired with tumour: sample types 01 to 09; normal tissue (10 to 19) never.
3. Diagnostic slides (DX, formalin-fixed) by default. They are not of the piece that
   gave the RNA; the frozen ones (TS, MS, BS) flank it, look different and are added if
   asked for.
4. A slide and an RNA sample have the same sample type. A patient with several types
   that have both is paired by the first (01 before 02 before 06).
5. All slides of a patient so chosen are used, their tiles pooled. Of several aliquots
   the first by barcode is used (as in HE2RNA, Schmauch et al. 2020), or their mean.
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
      slides: the rows of the slide table that are used, with patient_id, sample_id (the
        patient's) and site from their barcodes.
      aliquots: patient to the names of its RNA rows, in the order of their barcodes.
      unmatched: what ("slide" or "RNA"), id, patient, reason, and `kept`: True of a
        slide that is in the study all the same, without RNA.
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
    """Applies the module's rules.

    Args:
      slides: a study's slide table; slides that were skipped are unmatched.
      obs: of the RNA (`pathjax data tcga-rna`): index unique, columns case_id and
        sample_type, and aliquot where the barcode is known that far.
      frozen: use frozen sections too.
      keep_unpaired: keep the slides of patients without RNA, for labels alone.

    Raises:
      TcgaError: the RNA lacks a column or has a row twice, or no slide is left; the
        latter with the commonest reasons.
    """
    unmatched: list[tuple[str, str, str, str, bool]] = []
    tumours: dict[str, dict[str, list[int]]] = collections.defaultdict(dict)
    barcodes: dict[int, Barcode] = {}
    for place, slide in enumerate(slides.to_dict("records")):
        found = _slide(slide, frozen)
        if isinstance(found, Barcode):
            barcodes[place] = found
            types = tumours[found.patient]
            types.setdefault(found.sample_type, []).append(place)
        else:
            patient = str(slide["patient_id"])
            unmatched.append(("slide", slide["slide_id"], patient, found, False))
    rna = _rna(obs, unmatched)

    used: list[int] = []
    aliquots: dict[str, tuple[str, ...]] = {}
    for patient in sorted({*tumours, *rna}):
        with_slides, with_rna = tumours.get(patient, {}), rna.get(patient, {})
        both = sorted(set(with_slides) & set(with_rna))
        alone = sorted(with_slides) if keep_unpaired else []
        chosen = next(iter([*both, *alone]), None)
        for kind, places in with_slides.items():
            keep = kind == chosen
            if keep:
                used += places
            if keep and both:
                continue
            reason = _alone(kind, chosen if both else None, "RNA", with_rna)
            unmatched += [
                ("slide", slides["slide_id"].iloc[place], patient, reason, keep)
                for place in places
            ]
        for kind, names in with_rna.items():
            if both and kind == chosen:
                aliquots[patient] = tuple(names)
                continue
            reason = _alone(kind, chosen if both else None, "slide", with_slides)
            unmatched += [("RNA", name, patient, reason, False) for name in names]
    table = pd.DataFrame(
        unmatched, columns=["what", "id", "patient", "reason", "kept"]
    ).astype({"kept": bool})
    # Slides first: of RNA there is often much more than of slides.
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


def _slide(slide: dict[str, object], frozen: bool) -> Barcode | str:
    """The barcode of a slide that can be paired, or why there is none."""
    if slide["status"] != "tiled":
        return f"was not tiled: {slide['reason']}"
    barcode = None
    for name in (slide["slide_id"], PurePath(str(slide["path"] or "")).name):
        try:
            barcode = find(str(name))
        except ValueError:
            continue
        if barcode.sample_type:
            break
    if barcode is None:
        return "neither its id nor its file name holds one patient's TCGA barcode"
    stated = str(slide["patient_id"])
    if stated.startswith("TCGA-") and stated[:12] != barcode.patient:
        return f"is said to be of {stated}, its name says {barcode.patient}"
    if not barcode.sample_type:
        return "its name has no sample type, such as 01 in TCGA-3C-AALI-01Z-00-DX1"
    if not barcode.is_tumour:
        return _no_tumour(barcode.sample_type)
    if barcode.is_frozen and not frozen:
        return "a frozen section; taken only if asked for (--frozen)"
    if not (barcode.is_frozen or barcode.is_diagnostic):
        return "its name does not say whether it is diagnostic (DX) or frozen (TS, BS)"
    return barcode


def _rna(
    obs: pd.DataFrame, unmatched: list[tuple[str, str, str, str, bool]]
) -> dict[str, dict[str, list[str]]]:
    """Patient to sample type to row names in the order of barcodes; notes the rest."""
    lacking = [name for name in ("case_id", "sample_type") if name not in obs]
    if lacking or not obs.index.is_unique:
        what = f"lacks the columns {', '.join(lacking)}" if lacking else "repeats a row"
        raise TcgaError(
            f"the RNA {what}: make it with `pathjax data tcga-rna`, which names rows "
            "by sample and fills case_id and sample_type"
        )
    aliquot = (
        obs["aliquot"].astype(str) if "aliquot" in obs else pd.Series("", obs.index)
    )
    order = pd.DataFrame({"aliquot": aliquot.to_numpy(), "name": obs.index.astype(str)})
    found: dict[str, dict[str, list[str]]] = collections.defaultdict(dict)
    for place in order.sort_values(["aliquot", "name"]).index:
        row = obs.iloc[place]
        name, kind = str(obs.index[place]), str(row["sample_type"])
        if "01" <= kind <= "09":
            found[str(row["case_id"])].setdefault(kind, []).append(name)
            continue
        reason = _no_tumour(kind) if kind else "its sample type is not known"
        unmatched.append(("RNA", name, str(row["case_id"]), reason, False))
    return found


def _no_tumour(kind: str) -> str:
    normal = "10" <= kind <= "19"
    what = "normal tissue" if normal else "no tumour"
    return f"{what} (sample type {kind}); never paired with a tumour"


def _alone(kind: str, chosen: str | None, other: str, types: Collection[str]) -> str:
    """Why a sample type of a patient is not paired."""
    if chosen is not None:
        return f"sample type {kind}; the patient is paired by {chosen}"
    if not types:
        return f"no {other} of this patient"
    return f"no {other} of sample type {kind}, only of {', '.join(sorted(types))}"
