"""Measuring and fitting: where the numbers in the hardware profiles come from."""
