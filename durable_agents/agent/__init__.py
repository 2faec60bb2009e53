"""Agents: actions and resources, declared; and plans: agents that have been checked."""

from durable_agents._exports import publish
from durable_agents.agent._agent import Agent
from durable_agents.agent._input import decode
from durable_agents.agent._plan import AgentPlan

__all__ = ["Agent", "AgentPlan", "decode"]

publish(globals(), __all__)
