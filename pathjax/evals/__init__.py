"""Probes, tasks, statistics, results and the leakage audit of frozen embeddings."""
