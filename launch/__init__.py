"""Starts training on this machine, or as a job on a SLURM cluster.

It uses Python's standard library only, so that it also runs on login nodes.
"""
