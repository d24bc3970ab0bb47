"""What a run says about itself: times, utilisation, traces, metrics, stalls."""
