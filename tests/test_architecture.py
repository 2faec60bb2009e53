"""What import-linter cannot say of itself: that no room was forgotten."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_room_that_is_a_folder_has_a_door() -> None:
    """Without its contract, files of the room could be imported past the door."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    guarded = {m for c in contracts if c["type"] == "protected" for m in c["protected_modules"]}
    rooms = {path.parent.name for path in (ROOT / "durable_agents").glob("*/__init__.py")}

    assert {f"durable_agents.{room}.*" for room in rooms} <= guarded
