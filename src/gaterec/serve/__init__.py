"""The server: recommendations over HTTP."""
