"""The runtime that is calibrated and served: a model file as a flat list of PyTorch calls."""
