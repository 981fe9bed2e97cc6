"""plpython/guestcomms/capabilities.py: packages are found by name, and not imported."""

from __future__ import annotations

import sys

from guestcomms.capabilities import find_packages


def test_packages_are_found_without_importing_them() -> None:
    assert find_packages(["this", "guestcomms_has_no_such_package", "json"]) == ["this", "json"]
    assert "this" not in sys.modules
