"""Factors to SI. Files carry the unit in the key; inside, everything is SI."""

KIB = 2**10
MIB = 2**20
GIB = 2**30
GB = 1e9
MB = 1e6
GFLOP = 1e9
TFLOP = 1e12
MS = 1e-3
US = 1e-6
NS = 1e-9
PICO = 1e-12
