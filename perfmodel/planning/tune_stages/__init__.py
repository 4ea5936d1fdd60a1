"""Which devices, and how many sub-batches, carry the most load through a pipeline?"""
