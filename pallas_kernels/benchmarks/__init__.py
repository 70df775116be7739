"""Programs that measure the operations; nothing imports them."""
