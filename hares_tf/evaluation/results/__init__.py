"""Metrics, their uncertainty, and results on disk."""
