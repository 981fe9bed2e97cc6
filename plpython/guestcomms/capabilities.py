"""Which optional Python packages the server's interpreter has."""

from collections.abc import Iterable
from importlib.util import find_spec


def find_packages(names: Iterable[str]) -> list[str]:
    """Return those of the top-level package names that could be imported.

    Only looks for them: importing scikit-learn alone takes seconds and 145 MB of every session's memory.
    """
    return [name for name in names if find_spec(name) is not None]
