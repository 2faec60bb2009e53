"""The machine's clocks, as the package reads them."""

from pathlib import Path

import pytest

from durable_agents import SystemClock, clock

YEAR_2026 = 1_767_225_600.0


def test_now_is_wall_clock_time_in_seconds() -> None:
    """Since 1970, and not the milliseconds that others count."""
    assert YEAR_2026 < SystemClock().now() < 10 * YEAR_2026


def test_monotonic_time_never_goes_backwards() -> None:
    """Whatever is done to the wall clock."""
    clock = SystemClock()
    looks = [clock.monotonic() for _ in range(100)]

    assert sorted(looks) == looks


async def test_no_time_is_slept_at_once() -> None:
    """The shortest wait that there is."""
    await SystemClock().sleep(0)


def test_the_machine_has_been_started_once() -> None:
    """Every process gets the same id, until it restarts."""
    assert SystemClock().boot_id() == SystemClock().boot_id()


def test_a_machine_that_gives_its_start_no_id_is_asked_in_vain(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The answer is the same in all of its processes."""
    monkeypatch.setattr(clock, "_BOOT_ID", tmp_path / "boot_id")

    assert not SystemClock().boot_id()
