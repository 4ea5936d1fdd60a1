"""Two scenarios held against each other, on the same random numbers."""
