"""Many nodes behind a router: what `perfplan fleet` asks, answers and computes."""
