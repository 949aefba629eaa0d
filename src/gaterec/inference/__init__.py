"""Trained runs in use: run_folder.py (files), recommender.py, requests.py, users.py, notes.py (what was left out), query_cache.py, fold_in.py (new users), ids.py, conditions.py (where), reranking.py (diverse lists),
bulk.py (lists for all users), explain.py, explanation.py, ann_index.py (approximate search), export.py (ONNX, vectors).
"""
