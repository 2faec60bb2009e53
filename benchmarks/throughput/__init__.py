"""Calls a second."""
