"""The version of gaterec, which run folders and prepared logs name."""

__version__ = "0.1.0"
