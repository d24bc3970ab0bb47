"""Embeddings of tiles and samples: computed, stored, cached, pooled."""
