"""How many nodes of which kind: what `perfplan plan` asks, answers and computes."""
