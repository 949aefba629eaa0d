"""Fast forms of a few functions, each defined by the plain line that it equals."""
