"""Sources of studies: each module turns something that exists into a study on disk."""
