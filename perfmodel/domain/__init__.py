"""Frozen types: validation and derived properties, nothing else."""
