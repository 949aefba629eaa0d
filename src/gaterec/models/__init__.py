"""The models: each file holds one encoder and its settings."""
