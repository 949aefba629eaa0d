"""Fast forms of a few functions, each defined by the plain line that it equals.

sliding_windows.py   sums, gated averages and gated maxima over windows
tiled_softmax.py     cross-entropy over the catalog
shared_negatives.py  losses against negatives that a step shares
gathered_scores.py   scores of some items for each query
ranking.py           ranks of relevant items
rank_counting.py     how many scores lie above each
topk.py · tiled_topk.py   the best items of each row
threads.py           one task per core
"""
