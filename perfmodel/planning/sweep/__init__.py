"""Many points of one question: which, what is finished of them, and the processes that answer the others."""
