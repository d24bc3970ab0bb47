"""The words of TCGA labels: which values a label has, and how sources spell them.

    "TCGA-KIRC", "CCRCC", 1.0, "BRCA_LumA" -> KIRC, KIRC, mutated, LumA

Holds words only; `tables.py` and `maf.py` read files, `labels.py` joins what they say.
"""

from collections.abc import Mapping

# TCGA study abbreviations (NCI GDC, "TCGA Study Abbreviations"), the tumours.
_STUDIES = (
    "ACC BLCA BRCA CESC CHOL COAD DLBC ESCA GBM HNSC KICH KIRC KIRP LAML LGG LIHC LUAD "
    "LUSC MESO OV PAAD PCPG PRAD READ SARC SKCM STAD TGCT THCA THYM UCEC UCS UVM"
)
CANCER_TYPES = tuple(_STUDIES.split())
MUTATED, WILD_TYPE = "mutated", "wild type"
CLASSES: Mapping[str, tuple[str, ...]] = {
    "cancer_type": CANCER_TYPES,
    "tp53": (MUTATED, WILD_TYPE),
    "breast": ("IDC", "ILC"),
    "pam50": ("LumA", "LumB", "Her2", "Basal", "Normal"),
    "kidney": ("KIRC", "KIRP", "KICH"),
    "lung": ("LUAD", "LUSC"),
}
DESCRIPTIONS = {
    "cancer_type": "TCGA study abbreviation",
    "tp53": "TP53 with a non-silent somatic mutation, or without one",
    "breast": "histology of breast cancer: invasive ductal (IDC) or lobular (ILC)",
    "pam50": "intrinsic subtype of breast cancer by PAM50",
    "kidney": "renal cell carcinoma: clear cell, papillary or chromophobe",
    "lung": "lung cancer: adenocarcinoma or squamous cell carcinoma",
}
# OncoTree codes (oncotree.mskcc.org) that are known here to belong to one TCGA study,
# beside those that are its abbreviation. Others say nothing: MACR, mucinous
# adenocarcinoma of colon and rectum, belongs to two.
_STUDY_OF_ONCOTREE = {
    **dict.fromkeys(
        [
            "IDC",
            "ILC",
            "MDLC",
            "MBC",
            "IMMC",
            "BRCA",
            "PD",
            "ACBC",
            "SPC",
            "BRCNOS",
            "MPT",
        ],
        "BRCA",
    ),
    **dict.fromkeys(["STAD", "TSTAD", "DSTAD", "MSTAD", "PSTAD", "SSRCC"], "STAD"),
    **dict.fromkeys(["OAST", "AASTR", "ODG", "AOAST", "ASTR"], "LGG"),
    "CCRCC": "KIRC",
    "PRCC": "KIRP",
    "CHRCC": "KICH",
}
# Of breast codes only these two; mixed (MDLC) and special types are neither.
_BREAST_OF_ONCOTREE = {"IDC": "IDC", "ILC": "ILC"}
_PAM50 = {
    "luma": "LumA",
    "luminala": "LumA",
    "lumb": "LumB",
    "luminalb": "LumB",
    "her2": "Her2",
    "her2enriched": "Her2",
    "basal": "Basal",
    "basallike": "Basal",
    "normal": "Normal",
    "normallike": "Normal",
}
_TP53 = {
    **dict.fromkeys(("1", "1.0", "true", "mutated", "mut", "mutant"), MUTATED),
    **dict.fromkeys(("0", "0.0", "false", "wild type", "wt", "wildtype"), WILD_TYPE),
}
# How sources write that they do not know (pandas, R, Xena, the GDC's XML).
MISSING = frozenset(
    ("", "na", "n/a", "nan", "none", "null", "[not available]", "[unknown]", "not_rep")
)


def claims_of(label: str, text: str) -> dict[str, str] | None:
    """What one cell says: label to class; empty when it says nothing.

    Args:
      label: a key of `CLASSES`, or "oncotree".
      text: the cell, not missing.

    Returns:
      One class, or those that follow from it: a cancer type of kidney or lung is that
      label too. None when the word is not known.
    """
    word = text.strip()
    if label == "oncotree":
        return _of_oncotree(word.upper())
    if label == "cancer_type":
        return _of_study(word.upper().removeprefix("TCGA-"))
    if label == "tp53":
        found = _TP53.get(word.lower())
    elif label == "pam50":
        short = word.lower().removeprefix("brca").lstrip("._-")
        found = _PAM50.get("".join(filter(str.isalnum, short)))
    else:
        found = word.upper() if word.upper() in CLASSES[label] else None
    return None if found is None else {label: found}


def _of_study(study: str) -> dict[str, str] | None:
    if study not in CANCER_TYPES:
        return None
    organs = {organ: study for organ in ("kidney", "lung") if study in CLASSES[organ]}
    return {"cancer_type": study, **organs}


def _of_oncotree(code: str) -> dict[str, str] | None:
    claims = _of_study(_STUDY_OF_ONCOTREE.get(code, code))
    if claims is None:
        return {} if code.replace("_", "").isalnum() else None
    if code in _BREAST_OF_ONCOTREE:
        claims["breast"] = _BREAST_OF_ONCOTREE[code]
    return claims
