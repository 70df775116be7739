"""Pages as their readers follow them; not a part of what is installed."""
