"""The published controller of DeepRecSys: constants, search, climb, and what its shortcuts cost."""
