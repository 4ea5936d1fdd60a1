"""Measuring what operators cost on this machine, and how well that predicts whole models."""
