"""The old place of gaterec.Client, for programs that import it from here."""

from gaterec.serve.client import Client, ServerError  # noqa: F401
