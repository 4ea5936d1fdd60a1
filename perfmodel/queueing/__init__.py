"""Closed forms of queueing theory: quick answers, and the oracle of the tests."""
