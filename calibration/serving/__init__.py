"""Serving a real model with pinned worker processes, under open-loop or paced load."""
