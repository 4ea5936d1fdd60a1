"""Results to terminal and JSON: the only place that rounds and scales."""
