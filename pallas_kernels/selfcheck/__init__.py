"""Decides whether kernels may run on a GPU where nobody has measured them."""
