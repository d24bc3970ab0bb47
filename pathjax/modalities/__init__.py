"""Which modality (slide, RNA, report text) tells how much of which target.

sources -> Cohort -> cells (modalities x target) -> results.json -> table, figures
"""
