"""Helpers of the tests, one concern per module; the fixtures are in tests/conftest.py."""
