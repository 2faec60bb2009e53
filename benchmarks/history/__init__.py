"""Stores with a long past."""
