"""Heads: what is trained on frozen embeddings, and the solvers behind them."""
