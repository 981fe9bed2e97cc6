"""Tests; a package so that `tests.support` is ours and not some site-packages' `tests`."""
