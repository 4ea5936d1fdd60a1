"""Which batch size and offload threshold carry the most load."""
