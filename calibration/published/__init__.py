"""Published figures, and the fit of the shipped profiles to them.

`python -m calibration.published.fit` refits the profiles and prints every residual;
`python -m calibration.published.compare` only compares the shipped profiles with the figures.
"""
