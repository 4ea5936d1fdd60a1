"""Work and hardware in, time out: pure functions."""
