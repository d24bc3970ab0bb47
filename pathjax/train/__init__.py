"""Training: set-up, steps, the loop, checkpoints and telemetry."""
