"""Parts of the keys of `configs/base.py`, as it has them."""
