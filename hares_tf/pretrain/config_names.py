"""The names of the configurations that ship with the package, without loading any."""

from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"


def list_configs() -> list[str]:
    """Names of the configurations that ship with the package."""
    return sorted(path.stem for path in CONFIGS.glob("*.py") if path.stem != "__init__")
