"""Embeddings of the windows of clips: computed once, and stored."""
