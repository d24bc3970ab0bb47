"""Studies on disk and batches in memory: everything between a source and a step."""
