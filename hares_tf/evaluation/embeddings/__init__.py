"""Windows of clips -> embeddings, computed once and stored."""
