"""Builds the extension's install script and the tree that `make install` copies."""
