"""Programs that measure the operations; no other package imports them."""
