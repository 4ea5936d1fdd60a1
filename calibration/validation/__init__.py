"""Prediction against measurement on this machine: errors, anchors, capacity, the suite over all models."""
