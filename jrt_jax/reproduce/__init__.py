"""Tables and figures of the sources, measured anew beside what was published."""
