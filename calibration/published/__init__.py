"""Published figures, and the fit of the shipped profiles to them.

`perfplan dev fit` refits the profiles and prints every residual;
`perfplan dev compare` only compares the shipped profiles with the figures.
"""
