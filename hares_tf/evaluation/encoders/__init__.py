"""Encoders: any handle as a function from waveforms to embeddings."""
