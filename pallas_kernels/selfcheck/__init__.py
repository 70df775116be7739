"""Decides whether kernels may run on a GPU on which they were not measured."""
