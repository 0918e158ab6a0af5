"""Shared helpers: files, progress, errors, lazy attributes, quiet imports of TensorFlow."""
