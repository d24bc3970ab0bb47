"""Shipped configs; `--config=configs/NAME.py:ARG` finds them here, in a wheel too."""
