"""Runs that differ in one thing; the name after the colon says in which."""
