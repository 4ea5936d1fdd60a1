"""The questions that users ask, answered with the cost model and the simulation."""
