"""Trained runs in use: recommender.py (the facade), filters.py (options of a request), requests.py, items.py, users.py, ranker.py,
lists.py (frames), query_cache.py, fold_in.py (new users), ids.py, conditions.py (where), notes.py (what was left out), reranking.py (diverse lists),
bulk.py (lists for all users), explain.py, explanation.py, run_folder.py (files), ann_index.py (approximate search), export.py (ONNX, vectors).
"""
