"""The output file: each output once, whatever was cut off; nobody else's file is touched."""

import asyncio
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from durable_agents.cli._output_file import OutputFile
from durable_agents.serialization import Codec
from durable_agents.store import SqliteReader
from tests.cli._job import Job

LINES = 6


@pytest.fixture
def done(job: Job) -> Job:
    """A finished job of some lines."""
    job.give(*({"product": "tea", "amount": n} for n in range(LINES)))
    job.run()
    return job


@pytest.mark.parametrize("cut", [1, 2, 40, 150])
def test_what_a_crash_cut_off_is_written_again(cut: int, done: Job) -> None:
    """Some bytes, a line, several lines."""
    whole = done.output.read_bytes()
    done.output.write_bytes(whole[:-cut])

    assert 0 == done.run()
    assert whole == done.output.read_bytes()


def test_every_length_of_the_file_leads_to_the_whole(done: Job) -> None:
    """Wherever the crash came, in a line or between two."""
    whole = done.output.read_bytes()

    for length in range(0, len(whole), 7):
        done.output.write_bytes(whole[:length])
        resume(done)
        assert whole == done.output.read_bytes(), length


def resume(job: Job) -> None:
    """What `run` does with its output file."""

    async def work() -> None:
        async with SqliteReader(job.store) as reader:
            file = OutputFile(job.output, reader, Codec(), lambda _: True)
            await file.open()
            await file.catch_up()
            await file.close()

    asyncio.run(work())


def test_a_long_file_is_compared_at_its_end_only(
    done: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the length of its lines; the part before is not read."""
    monkeypatch.setattr("durable_agents.cli._output_file._CHECKED_BYTES", 10)
    whole = done.output.read_bytes()
    first, *others = whole.splitlines(keepends=True)
    changed = b"?" * (len(first) - 1) + b"\n" + b"".join(others)
    done.output.write_bytes(changed[:-3])

    assert 0 == done.run()
    assert changed == done.output.read_bytes()


def test_lines_of_pruned_runs_are_passed_over(done: Job) -> None:
    """The store does not know them any more; the last ones it does."""
    whole = done.output.read_bytes()
    done.output.write_bytes(whole[:-30])
    done.command("prune", f"--store={done.store}", "--keep=3")

    resume(done)

    assert whole == done.output.read_bytes()


def text(_: Job) -> bytes:
    return b"dear diary"


def lines(_: Job) -> bytes:
    return b"a\nb\n"


def other_json(_: Job) -> bytes:
    return b'{"product": "tea"}\n'


def other_store(job: Job) -> bytes:
    return job.output.read_bytes().replace(b"orders.jsonl", b"others.jsonl")


def other_order(job: Job) -> bytes:
    first, second, *rest = job.output.read_bytes().splitlines(keepends=True)
    return b"".join([second, first, *rest])


def a_line_twice(job: Job) -> bytes:
    last = job.output.read_bytes().splitlines(keepends=True)[-1]
    return job.output.read_bytes() + last


def a_line_missing(job: Job) -> bytes:
    first, _, *rest = job.output.read_bytes().splitlines(keepends=True)
    return b"".join([first, *rest])


def another_value(job: Job) -> bytes:
    return job.output.read_bytes().replace(b'"sum":2}', b'"sum":3}')


def another_event(job: Job) -> bytes:
    return job.output.read_bytes().replace(b'/0#1"', b'/7#1"')


def a_torn_line_of_something_else(job: Job) -> bytes:
    return job.output.read_bytes() + b'{"run":'


@pytest.mark.parametrize(
    "make",
    [
        text,
        lines,
        other_json,
        other_store,
        other_order,
        a_line_twice,
        a_line_missing,
        another_value,
        another_event,
        a_torn_line_of_something_else,
    ],
)
def test_a_file_that_is_not_the_output_of_the_store_stays_as_it_is(
    make: Callable[[Job], bytes], done: Job
) -> None:
    """It is refused before anything runs."""
    content = make(done)
    done.output.write_bytes(content)
    done.give(*({"product": "tea", "amount": n} for n in range(LINES + 1)))

    code = done.run()

    assert (2, 1) == (code, len(done.told.splitlines()))
    assert f"--output {done.output} " in done.told
    assert "take another file" in done.told
    assert content == done.output.read_bytes()
    done.command("runs", f"--store={done.store}", "--json")
    assert LINES == len(json.loads(done.written)["runs"])


def test_an_output_of_before_a_new_store_is_refused(done: Job) -> None:
    """Whoever deletes a store begins anew, and so do the outputs."""
    done.store.unlink()

    assert 2 == done.run()
    assert "holds no output of the store" in done.told


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nowhere/out.jsonl", "cannot be written: No such file or directory"),
        (".", "cannot be written: Is a directory"),
        ("pipe", "is no regular file"),
    ],
)
def test_a_path_that_cannot_be_written_is_a_usage_error(
    path: str, problem: str, job: Job, tmp_path: Path
) -> None:
    """With what is in the way."""
    job.give({"product": "tea", "amount": 1})
    os.mkfifo(tmp_path / "pipe")

    assert 2 == job.run(f"--output={tmp_path / path}")
    assert problem in job.told


def test_two_commands_do_not_write_one_file(done: Job) -> None:
    """The second one would repeat what the first one has not written yet."""
    with done.output.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        assert 2 == done.run()
    assert "is being written by another command" in done.told


def test_a_value_without_a_form_in_json_is_a_usage_error(job: Job) -> None:
    """The store keeps it; the file has no line for it."""
    job.add_to_module(
        """
        odd = Agent("shop", input=Order)

        @odd.action(InputEvent)
        async def sell_odd(event, ctx):
            ctx.output(1j)
        """
    )
    job.give({"product": "tea", "amount": 1})

    assert 2 == job.run(agent=f"{job.module}:odd")
    assert "has no form in JSON" in job.told


def test_values_of_many_kinds_have_a_form_in_json(job: Job) -> None:
    """Sets in one order, whatever the process; paths, structs and pydantic's models."""
    job.add_to_module(
        """
        from pathlib import Path
        import pydantic

        class Model(pydantic.BaseModel):
            n: int

        many = Agent("shop", input=Order)

        @many.action(InputEvent)
        async def sell_many(event, ctx):
            ctx.output([{"b", "a", "c"}, Path("/x"), event.input, Model(n=1)])
        """
    )
    job.give({"product": "tea", "amount": 1})

    assert 0 == job.run(agent=f"{job.module}:many")
    (line,) = job.outputs()
    assert [["a", "b", "c"], "/x", {"product": "tea", "amount": 1}, {"n": 1}] == line["value"]


def test_a_disk_that_fills_up_is_no_loss(done: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file lacks is in the store; the same command goes on."""
    whole = done.output.read_bytes()
    done.output.write_bytes(b"")
    write = os.write

    def full(file: int, content: bytes) -> int:
        if os.fstat(file).st_size:
            raise OSError(28, "No space left on device")
        return write(file, bytes(content)[:50])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        code = done.run()

    assert 3 == code
    assert "No space left on device; what it lacks is in the store" in done.told
    assert whole[:50] == done.output.read_bytes()
    assert 0 == done.run()
    assert whole == done.output.read_bytes()
