"""Recordings where they are stored: folders, tables, archives and tfds records, and decoding."""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Columns": "labeled_table",
        "FileSound": "sound",
        "Recording": "recording",
        "RecordingsError": "errors",
        "Sound": "sound",
        "Source": "recording",
        "folder_source": "labeled_folder",
        "read_table": "tables",
        "sounds_in": "archives",
        "table_source": "labeled_table",
    },
)
