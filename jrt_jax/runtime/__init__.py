"""Processes, devices and the machine, independent of what is computed."""
