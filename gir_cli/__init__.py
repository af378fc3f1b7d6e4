"""General image restoration: one model for any photograph, and the tools around it."""

__version__ = "0.1.0"
