"""Datasets known by name: registry.py (the list), download.py, publishers.py (formats), preprocessing.py (the paper's filters),
simulate.py (the demo's log).
"""
