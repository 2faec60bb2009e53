"""How fast the package is, next to the limit of the same machine in the same run."""
