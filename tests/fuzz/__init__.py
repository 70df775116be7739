"""Broken files for the readers of files; not a part of what is installed."""
