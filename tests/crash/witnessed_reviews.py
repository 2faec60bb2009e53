"""The agent of `examples/review_stream.py`, whose durable function is seen by the witness.

A module for `durable-agents run`. The function takes a moment, as a model would, so that a kill
finds calls under way.
"""

import asyncio
import os
import sys
from functools import wraps
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from tests.crash.witness import LATENCY, witnessed

_EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "review_stream.py"

_spec = spec_from_file_location("review_stream", _EXAMPLE)
assert _spec is not None
assert _spec.loader is not None
_example = module_from_spec(_spec)
sys.modules["review_stream"] = _example
_spec.loader.exec_module(_example)
_score = _example.score


@wraps(_score)
async def _seen(text: str) -> int:
    with witnessed("score", text[:20]):
        await asyncio.sleep(float(os.environ[LATENCY]))
        points: int = await _score(text)
        return points


_example.score = _seen
agent = _example.agent
