"""Report text: read, joined to a study, embedded once, kept in a file.

reports (CSV, Parquet, study) -> readers -> backends (with cache) -> store
"""
