"""Processes, devices and the machine: how a run meets, fails, stops and keeps."""
