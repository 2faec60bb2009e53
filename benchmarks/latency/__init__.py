"""How long a commit takes."""
