"""The words of TCGA labels: the classes of each label, and how sources spell them.

    "TCGA-KIRC", "CCRCC", 1.0, "BRCA_LumA" -> KIRC, KIRC, mutated, LumA

Reads no file; `labels.py` does.
"""

import re
from collections.abc import Collection, Mapping

# Tumours among the TCGA study abbreviations (NCI GDC).
_STUDIES = (
    "ACC BLCA BRCA CESC CHOL COAD DLBC ESCA GBM HNSC KICH KIRC KIRP LAML LGG LIHC LUAD "
    "LUSC MESO OV PAAD PCPG PRAD READ SARC SKCM STAD TGCT THCA THYM UCEC UCS UVM"
)
CANCER_TYPES = tuple(_STUDIES.split())
MUTATED, WILD_TYPE = "mutated", "wild type"
MUTATION = "mutation:"  # of a gene, a label in addition to CLASSES
NUMBERS = {"age": "age at diagnosis, years", "stage": "pathologic stage, 1 to 4"}
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
# OncoTree codes (oncotree.mskcc.org) of exactly one TCGA study, other than its
# abbreviation. MACR, mucinous adenocarcinoma of colon and rectum, belongs to two.
_ONCOTREE = {
    "BRCA": "IDC ILC MDLC MBC IMMC BRCA PD ACBC SPC BRCNOS MPT",
    "STAD": "STAD TSTAD DSTAD MSTAD PSTAD SSRCC",
    "LGG": "OAST AASTR ODG AOAST ASTR",
    "KIRC": "CCRCC",
    "KIRP": "PRCC",
    "KICH": "CHRCC",
}
_STUDY_OF_CODE = {c: study for study, codes in _ONCOTREE.items() for c in codes.split()}
_CLASS_OF_WORD = {
    "tp53": {
        **dict.fromkeys(("1", "1.0", "true", "mutated", "mut", "mutant"), MUTATED),
        **dict.fromkeys(
            ("0", "0.0", "false", "wild type", "wt", "wildtype"), WILD_TYPE
        ),
    },
    "pam50": {
        **{name.lower(): name for name in CLASSES["pam50"]},
        "luminala": "LumA",
        "luminalb": "LumB",
        "her2enriched": "Her2",
        "basallike": "Basal",
        "normallike": "Normal",
    },
}
# Variant classes of the GDC's MAF format, by whether they change the protein.
_NON_SILENT = (
    "Missense_Mutation Nonsense_Mutation Nonstop_Mutation Frame_Shift_Del "
    "Frame_Shift_Ins In_Frame_Del In_Frame_Ins Splice_Site Translation_Start_Site"
)
_SILENT = (
    "Silent Intron 5'UTR 3'UTR 5'Flank 3'Flank IGR RNA Splice_Region Targeted_Region"
)
NON_SILENT, SILENT = frozenset(_NON_SILENT.split()), frozenset(_SILENT.split())
# FILTER flags of valid calls. DNA of OV and LAML was amplified (wga), so that PASS alone
# would leave them empty (Ellrott et al. 2018, MC3). "nonpreferredpair" is not among
# them: the same tumour is also there with a better normal.
ACCEPTED = frozenset(("PASS", ".", "", "wga", "native_wga_mix"))


def labels_of_gene(gene: str, genes: Collection[str]) -> list[str]:
    """The labels of a gene's status: TP53 has one of its own, too."""
    return ["tp53"] * (gene == "TP53") + [MUTATION + gene] * (gene in genes)


def _number_of(label: str, word: str) -> dict[str, str] | None:
    """Years of age, or a stage: "Stage IIIA" is 3."""
    if label == "stage":
        roman = re.fullmatch(r"(?:stage)?\s*(iv|i{1,3})(?:[abc]\d?)?", word.lower())
        number = ("i", "ii", "iii", "iv").index(roman[1]) + 1 if roman else 0
        text = str(number) if roman else word
        return {label: text} if text in ("1", "2", "3", "4") else None
    try:
        years = float(word)
    except ValueError:
        return None
    return {label: f"{years:g}"} if 0 <= years <= 120 else None


def classes_of(label: str, text: str) -> dict[str, str] | None:
    """The labels that follow from one cell.

    Args:
      label: A key of `CLASSES` or `NUMBERS`, or "oncotree".
      text: The cell, not missing.

    Returns:
      Label to class. A cancer type of kidney or lung is that label too; an OncoTree
      code of no single study gives nothing. None if the word is unknown.
    """
    word = text.strip()
    if label in NUMBERS:
        return _number_of(label, word)
    if label == "oncotree":
        return _of_oncotree(word.upper())
    if label == "cancer_type":
        return _of_study(word.upper().removeprefix("TCGA-"))
    if label == "tp53":
        found = _CLASS_OF_WORD[label].get(word.lower())
    elif label == "pam50":
        short = word.lower().removeprefix("brca").lstrip("._-")
        found = _CLASS_OF_WORD[label].get("".join(filter(str.isalnum, short)))
    else:
        found = word.upper() if word.upper() in CLASSES[label] else None
    return None if found is None else {label: found}


def _of_study(study: str) -> dict[str, str] | None:
    if study not in CANCER_TYPES:
        return None
    organs = {organ: study for organ in ("kidney", "lung") if study in CLASSES[organ]}
    return {"cancer_type": study, **organs}


def _of_oncotree(code: str) -> dict[str, str] | None:
    labels = _of_study(_STUDY_OF_CODE.get(code, code))
    if labels is None:
        return {} if code.replace("_", "").isalnum() else None
    # Mixed (MDLC) and special types of breast cancer are neither class.
    return labels | ({"breast": code} if code in CLASSES["breast"] else {})
