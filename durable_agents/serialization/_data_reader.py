"""Trees as data, for who looks at values whose classes are not loaded."""

# ruff: noqa: ANN401 - the border where values are of any type

from typing import Any

from durable_agents.serialization._leaves import expect
from durable_agents.serialization._nodes import ENUM, RECORD_KINDS, SUBCLASS
from durable_agents.serialization._tree_reader import TreeReader

__all__ = ["DataReader"]


class DataReader(TreeReader):
    """Makes data of trees, and needs no class for it.

    An instance becomes its fields by name, a member of an enum its name or number, an instance
    of a subclass of a builtin type what it holds. The way back is lost.
    """

    __slots__ = ()

    def _node(self, tag: int, body: Any) -> Any:
        if tag in RECORD_KINDS:
            _, state, *_ = expect(body, list)
            return self.value(state)
        if tag == ENUM:
            _, member = expect(body, list)
            return self.value(member)
        if tag == SUBCLASS:
            _, content, _ = expect(body, list)
            return self.value(content)
        return super()._node(tag, body)
