"""From a log to batches: read, filter, order, split, cut into rows.

readers/           files and frames to columns
datasets/          datasets known by name
log.py             the events as read
filters.py         which events are kept
interactions.py    histories as flat arrays, with the vocabularies of ids
prepared.py        interactions in a folder; large arrays are mapped and not read
split.py           the training, validation and test part of each history
batches.py         rows of histories for training
"""
