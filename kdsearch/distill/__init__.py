"""One pipeline: a chain of networks, each taught by the one before. No Ray."""
