"""Recordings where they lie: folders, tables, archives and tfds records, and decoding ahead."""
