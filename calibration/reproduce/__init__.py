"""`perfplan reproduce`: published evaluations, recomputed on the shipped profiles."""
