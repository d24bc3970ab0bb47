"""TCGA: slides, bulk RNA and labels of The Cancer Genome Atlas become a paired study.

pathjax downloads nothing of it: it reads what a user got from GDC, Xena or the tables
of other projects.

    barcodes.py    whose tissue a name speaks of
    rna.py         bulk RNA of any known kind as one AnnData
    rna_star.py    GDC STAR counts, with rna_sheet.py: which file is whose
    rna_xena.py    matrices of the Xena hubs
    rna_porpoise.py  z-scores per slide
    rna_units.py   on which scale values are
    rna_matrix.py  values of a matrix cleaned and converted
    rna_table.py   what readers of RNA share
    genes.py       which genes rows are
    labels.py      what all sources say of a patient, conflicts left open
    label_tables.py  tables by patient, sample or slide
    maf.py         TP53 from a MAF
    vocabulary.py  which values labels have, and how sources spell them
    pairing.py     slides with RNA, and what has no partner
    expression.py  of patients, from that of their aliquots
    splits.py      who trains, and on whom tasks are scored
    build.py       the paired study
"""
