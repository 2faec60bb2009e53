"""The SQL of the SQLite store: named queries and migrations, read from files beside this."""

import re
from importlib.resources import files

__all__ = ["load_migrations", "load_queries"]

_QUERIES = ("queries.sql", "shared.sql")
_NAME = re.compile(r"^-- (\w+):", re.MULTILINE)


def load_queries() -> dict[str, str]:
    """Every statement of `queries.sql` and `shared.sql` by its name."""
    queries: dict[str, str] = {}
    for file in _QUERIES:
        text = files(__name__).joinpath(file).read_text(encoding="utf-8")
        parts = _NAME.split(text)[1:]
        for name, body in zip(parts[::2], parts[1::2], strict=True):
            queries[name] = body.split("\n", 1)[1].strip().rstrip(";")
    return queries


def load_migrations() -> list[str]:
    """Scripts that lead from an empty file to today's schema; the n-th makes version n."""
    folder = files(__name__).joinpath("migrations")
    scripts = sorted(
        (f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name
    )
    return [script.read_text(encoding="utf-8") for script in scripts]
