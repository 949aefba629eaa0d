"""gaterec: sequential recommendation."""
