"""Evaluation: evaluate.py (ranking), scorer.py (scores of queries), metrics.py, protocol.py (how it was measured), slices.py (by history and popularity),
audit.py (what data and protocol do to metrics), significance.py (paired tests).
"""
