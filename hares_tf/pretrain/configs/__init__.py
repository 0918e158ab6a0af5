"""The configurations that ship with the package: one module with a `get_config()` each."""
