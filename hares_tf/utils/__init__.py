"""Shared helpers: files, progress, errors, lazy attributes, the import of TensorFlow."""
