"""Does a model recall what it has read? Tasks, and what is asked in them."""
