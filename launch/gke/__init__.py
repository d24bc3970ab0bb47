"""Training on GKE's TPU slices."""
