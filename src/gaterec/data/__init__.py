"""From a raw log to batches: read, filter, order, split, cut into rows."""
