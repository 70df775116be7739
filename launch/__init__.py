"""Starts training: on this machine, or as a job of a SLURM cluster.

It builds command lines and job files with Python's standard library only, so
that it runs on login nodes as well.
"""
