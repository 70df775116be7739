"""Ablations: runs that differ in one setting, FILE:CHOICE."""
