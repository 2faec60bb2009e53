"""The SQL of the SQLite store: named queries and migrations, read from files beside this."""

import re
from importlib.resources import files

__all__ = ["load_migrations", "load_queries"]

_NAME = re.compile(r"^-- (\w+):", re.MULTILINE)


def load_queries() -> dict[str, str]:
    """Every statement of `queries.sql` by its name."""
    text = files(__name__).joinpath("queries.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {
        name: body.split("\n", 1)[1].strip().rstrip(";")
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def load_migrations() -> list[str]:
    """Scripts that lead from an empty file to today's schema; the n-th makes version n."""
    folder = files(__name__).joinpath("migrations")
    scripts = sorted(
        (f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name
    )
    return [script.read_text(encoding="utf-8") for script in scripts]
