"""Durable execution for asyncio agents."""
