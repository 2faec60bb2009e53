"""A power cut takes what no sync has made safe, and nothing else."""

import random
from collections.abc import Iterable

import pytest

from tests.proof.disk import CUTS, Cut, Disk, Image
from tests.proof.trace import Change

MADE = [Change("c", 7, 0, b"store.db"), Change("d", 1, 1)]
OLD, NEW = b"a" * 1024, b"b" * 1024


def image(changes: Iterable[Change], cut: Cut, seed: int = 0) -> Image:
    """What a disk may hold after these changes."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    disk = Disk(chance)
    for change in changes:
        disk.play(change)
    return disk.image(cut, chance)


def images(changes: list[Change], cut: Cut) -> set[bytes]:
    """Everything that it may hold in its one file, given enough tries."""
    return {image(changes, cut, seed)["store.db"] for seed in range(100)}


@pytest.mark.parametrize("cut", CUTS)
def test_what_was_synced_is_there_whatever_is_cut(cut: Cut) -> None:
    """The promise of the disk, on which all others rest."""
    changes = [*MADE, Change("w", 7, 0, OLD), Change("s", 7, 3)]

    assert images(changes, cut) == {OLD}


def test_a_sync_covers_only_what_was_done_before_it_began() -> None:
    """A write that overlaps a sync is not safe."""
    changes = [*MADE, Change("w", 7, 0, OLD), Change("w", 7, 0, NEW), Change("s", 7, 3)]

    assert image(changes, "dropped") == {"store.db": OLD}


def test_a_write_without_a_sync_is_there_or_not() -> None:
    """A whole write may be missing although a later one is there."""
    changes = [*MADE, Change("w", 7, 0, OLD), Change("w", 7, 1024, NEW)]

    expected = {b"", OLD, bytes(1024) + NEW, OLD + NEW}
    assert images(changes, "subset") == expected


def test_a_torn_write_is_torn_between_sectors() -> None:
    """Half of a page may be the old one; half of a sector is not."""
    synced = [*MADE, Change("w", 7, 0, OLD), Change("s", 7, 3)]
    changes = [*synced, Change("w", 7, 0, NEW)]

    half_old, half_new = OLD[:512], NEW[:512]
    expected = {OLD, NEW, half_old + half_new, half_new + half_old}
    assert images(changes, "torn") == expected


def test_writes_of_one_place_may_change_places() -> None:
    """A disk is free to write the older one last."""
    changes = [*MADE, Change("w", 7, 0, OLD[:512]), Change("w", 7, 0, NEW[:512])]

    assert images(changes, "reordered") == {b"", OLD[:512], NEW[:512]}


def test_a_file_whose_name_is_not_synced_may_be_missing() -> None:
    """Syncing a file says nothing of the folder that it is in."""
    changes = [Change("c", 7, 0, b"store.db"), Change("w", 7, 0, OLD), Change("s", 7, 2)]

    assert image(changes, "dropped") == {}
    assert image(changes, "kept") == {"store.db": OLD}


def test_a_file_that_was_unlinked_may_come_back() -> None:
    """A journal that comes back would roll back what was committed since."""
    changes = [*MADE, Change("w", 7, 0, OLD), Change("s", 7, 3), Change("u", data=b"store.db")]

    assert image(changes, "dropped") == {"store.db": OLD}
    assert image(changes, "kept") == {}
    assert image([*changes, Change("d", 1, 5)], "dropped") == {}


def test_an_inode_that_is_used_again_is_another_file() -> None:
    """File systems give them out anew at once."""
    changes = [
        *MADE,
        Change("w", 7, 0, OLD),
        Change("s", 7, 3),
        Change("u", data=b"store.db"),
        Change("c", 7, 0, b"other"),
    ]

    assert image(changes, "dropped") == {"store.db": OLD}
    assert image(changes, "kept") == {"other": b""}


def test_a_failed_sync_may_lose_what_no_later_sync_brings_back() -> None:
    """The system may drop the pages and call them clean."""
    changes = [*MADE, Change("w", 7, 0, OLD), Change("f", 7, 3), Change("s", 7, 4)]

    assert images(changes, "kept") == {b"", OLD}


def test_a_truncation_is_cut_like_a_write() -> None:
    """Until it is synced, the file may have its old length."""
    changes = [*MADE, Change("w", 7, 0, OLD), Change("s", 7, 3), Change("t", 7, 512)]

    assert images(changes, "subset") == {OLD, OLD[:512]}
