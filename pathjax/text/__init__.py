"""Report text: read, joined to a study, embedded once, kept in a file.

reports (CSV, Parquet, study) -> reports.py -> embed.py (backend, cache) -> text_store
"""
