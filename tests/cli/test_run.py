"""`durable-agents run`: inputs from a file, outputs into one, and what is wrong with either."""

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from durable_agents.cli import main
from tests.cli._job import Job


def order(product: str, amount: int) -> dict[str, Any]:
    return {"product": product, "amount": amount}


def test_each_line_is_a_run_and_each_output_a_line(job: Job) -> None:
    """Of one key in the order of the lines."""
    job.give(order("tea", 1), order("nut", 5), order("tea", 10))

    code, report = job.report()

    assert (0, "") == (code, job.told)
    assert (True, 3, 3, 0) == (
        report["is_finished"],
        report["lines"],
        report["completed"],
        report["completed_before"],
    )
    lines = job.outputs()
    assert {"run", "key", "event_id", "value"} == lines[0].keys()
    assert [2, 22] == [line["value"]["sum"] for line in lines if line["key"] == "tea"]
    assert [{"product": "nut", "sum": 10}] == [
        line["value"] for line in lines if line["key"] == "nut"
    ]


def test_running_again_skips_what_has_ended(job: Job) -> None:
    """Nothing runs twice, nothing is written twice; new lines at the end are run."""
    job.give(order("tea", 1), order("nut", 5))
    job.run()
    written = job.output.read_text()
    job.give(order("tea", 1), order("nut", 5), order("tea", 10))

    code, report = job.report()

    assert (0, 3, 2) == (code, report["completed"], report["completed_before"])
    assert job.output.read_text().startswith(written)
    assert 22 == job.outputs()[-1]["value"]["sum"]
    assert 3 == len(job.outputs())


def test_the_run_id_says_where_a_line_stands_and_what_it_says(job: Job) -> None:
    """Empty lines count, so that the number is the one an editor shows."""
    job.give(order("tea", 1), "", "   ", order("tea", 1))

    job.run()

    first, second = (line["run"].split(":") for line in job.outputs())
    assert ["orders.jsonl", "1"] == first[:2]
    assert ["orders.jsonl", "4"] == second[:2]
    assert first[2] == second[2]


def test_a_changed_line_is_a_new_input_and_is_reported(job: Job) -> None:
    """The run of what stood there stays."""
    job.give(order("tea", 1), order("nut", 5))
    job.run()
    former = job.outputs()[0]["run"]
    job.give(order("tea", 2), order("nut", 5))

    code, report = job.report()

    assert (0, 1) == (code, report["changed"])
    assert [{"line": 1, "earlier_run": former}] == report["changed_lines"]
    assert [2, 10, 6] == [line["value"]["sum"] for line in job.outputs()]
    assert 0 == job.run()
    assert "changed since" not in job.written


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "expected one JSON value: Input data was truncated"),
        ("no json", "expected one JSON value: JSON is malformed"),
        (b"\xff\xfe", "expected one JSON value"),
        ("{} {}", "expected one JSON value: JSON is malformed: trailing characters"),
        (order("tea", 1) | {"amount": "two"}, "Expected `int`, got `str` - at `$.amount`"),
        ({"product": "tea"}, "missing required field `amount`"),
        (
            {"amount": 1},
            "--key expects text or a whole number at `$.product`, there is nothing",
        ),
        ({"product": None, "amount": 1}, "at `$.product`, got null"),
        ({"product": 1.5, "amount": 1}, "at `$.product`, got a number with a fraction"),
        ({"product": True, "amount": 1}, "at `$.product`, got a boolean"),
        ({"product": [1], "amount": 1}, "at `$.product`, got an array"),
        ({"product": {}, "amount": 1}, "at `$.product`, got an object"),
        ("[1, 2]", "at `$.product`, there is nothing"),
    ],
)
def test_a_bad_line_is_refused_and_the_others_go_on(
    line: str | bytes | dict[str, Any], problem: str, job: Job
) -> None:
    """By its number, with the field and what was expected there."""
    job.give(order("tea", 1), line, order("nut", 5))

    code, report = job.report()

    assert (1, 2, 1) == (code, report["completed"], report["refused"])
    (refused,) = report["refused_lines"]
    assert 2 == refused["line"]
    assert problem in refused["problem"]
    assert 1 == job.run()
    assert "line 2: refused: " in job.written


def test_a_key_may_lie_deeper_and_be_a_number(job: Job) -> None:
    """A dotted path; its value as text."""
    job.add_to_module(
        "agent = Agent('any')\nagent.add_action('f', InputEvent, lambda e, c: None)"
    )
    job.give({"customer": {"id": 7}}, {"customer": 7})

    code, report = job.report("--key=customer.id")

    assert (1, 1, 2) == (code, report["completed"], report["refused_lines"][0]["line"])
    assert 0 == job.command("runs", f"--store={job.store}", "--key=7", "--json")
    assert 1 == len(json.loads(job.written)["runs"])


def test_a_byte_order_mark_is_no_part_of_the_first_line(job: Job) -> None:
    """Some editors write one; and some end lines in their own way."""
    job.give(b"\xef\xbb\xbf" + json.dumps(order("tea", 1)).encode() + b"\r")

    assert 0 == job.run()


def test_an_id_of_the_callers_own_is_a_field(job: Job) -> None:
    """What has the same id is the same input, wherever it stands."""
    job.give(order("tea", 1) | {"n": "a"}, order("nut", 5) | {"n": 2}, order("fig", 3))
    job.run("--id=n")
    job.give(order("tea", 9) | {"n": "a"}, order("tea", 9) | {"n": "a"})

    code, report = job.report("--id=n")

    assert (0, 2) == (code, report["completed_before"])
    assert ["a", "2"] == [line["run"] for line in job.outputs()]


def test_one_id_twice_in_a_file_is_one_run(job: Job) -> None:
    """Also where the first has not ended when the second is read."""
    job.give(order("tea", 1) | {"n": "a"}, order("tea", 1) | {"n": "a"})

    code, report = job.report("--id=n")

    assert (0, 2, 1) == (code, report["completed"], len(job.outputs()))


def test_a_failed_run_is_listed_and_fails_no_other(job: Job) -> None:
    """Today and when the command is given again; its key goes on."""
    job.give(order("tea", -1), order("tea", 5))
    for before in (0, 1):
        code, report = job.report()

        assert (1, 1, before) == (code, report["failed"], report["completed_before"])
        (failed,) = report["failed_runs"]
        assert "ValueError: -1 is owed to us" == failed["reason"]
    job.run()
    assert f"{failed['run']}: failed: ValueError: -1 is owed to us" in job.written


def test_the_table_counts_and_lists(job: Job) -> None:
    """For people: what there is to look at, and no empty rows."""
    job.give(order("tea", 1), "?", order("nut", -1))

    code = job.run()

    title, heads, _, completed, failed, refused, *listed = job.written.splitlines()
    assert 1 == code
    assert f"orders.jsonl, kept in {job.store}" == title
    assert ["runs", "lines"] == heads.split()
    assert (["completed", "1"], ["failed", "1"], ["refused", "1"]) == (
        completed.split(),
        failed.split(),
        refused.split(),
    )
    assert "line 2: refused: " in listed[0]
    assert ": failed: ValueError: -1 is owed to us" in listed[1]


def test_many_bad_lines_are_counted_and_some_are_shown(job: Job) -> None:
    """A file of the wrong kind must not fill the screen."""
    job.give(*["?"] * 1500)

    code, report = job.report()

    assert (1, 1500, 1000) == (code, report["refused"], len(report["refused_lines"]))
    job.run()
    assert 20 == job.written.count(": refused: ")
    assert "... and 1,480 more" in job.written


def test_without_an_output_file_outputs_stay_in_the_store(job: Job) -> None:
    """Whoever names one later gets all of them."""
    job.give(order("tea", 1), order("nut", 5))
    arguments = ["run", f"{job.module}:agent", f"--input={job.input}", f"--store={job.store}"]
    assert 0 == job.command(*arguments, "--quiet")
    assert not job.output.exists()

    job.run()

    assert 2 == len(job.outputs())


def test_two_files_over_one_store_have_an_output_each(job: Job, tmp_path: Path) -> None:
    """Run ids say which line of which file an output comes from."""
    job.give(order("tea", 1))
    job.run()
    other = tmp_path / "more.jsonl"
    other.write_text(json.dumps(order("tea", 10)))
    arguments = [f"--input={other}", f"--output={tmp_path / 'more-sold.jsonl'}"]

    assert 0 == job.run(*arguments)

    (line,) = (tmp_path / "more-sold.jsonl").read_text().splitlines()
    assert {"product": "tea", "sum": 22} == json.loads(line)["value"]
    assert 1 == len(job.outputs())


def test_an_empty_file_is_done(job: Job) -> None:
    """Nothing to do is no failure."""
    job.give()

    assert 0 == job.run()
    assert "" == job.output.read_text()


@pytest.mark.parametrize("name", ["factory", "Shop"])
def test_an_agent_may_be_made(name: str, job: Job) -> None:
    """By its class, or by a function."""
    job.give(order("tea", 1))

    assert 0 == job.run(agent=f"{job.module}:{name}")
    assert 2 == job.outputs()[0]["value"]["sum"]


def test_an_agent_may_be_named_by_import_path(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked for in the current folder first, as by `python -m`."""
    job.give(order("tea", 1))
    monkeypatch.chdir(job.module.parent)

    assert 0 == job.run(agent=f"{job.module.stem}:agent")


@pytest.mark.parametrize(
    ("agent", "problem"),
    [
        ("nothing", "expected MODULE:AGENT"),
        (":agent", "expected MODULE:AGENT"),
        ("nowhere.py:agent", "there is no file"),
        ("no.such.module:agent", "cannot be imported: ModuleNotFoundError"),
        ("MODULE:other", "has no 'other'; its agents: agent"),
        ("MODULE:number", "is of type int; expected an Agent"),
        ("MODULE:broken", "() failed: OSError: no network"),
        ("MODULE:price", "() failed: TypeError"),
        ("MODULE:Order", "() failed: TypeError"),
        ("MODULE:dict", "has no 'dict'"),
        ("MODULE:durable", "expected an Agent"),
    ],
)
def test_what_is_no_agent_is_a_usage_error(agent: str, problem: str, job: Job) -> None:
    """One line says what was found; nothing is made."""
    job.give(order("tea", 1))

    code = job.run(agent=agent.replace("MODULE", str(job.module)))

    assert (2, 1) == (code, len(job.told.splitlines()))
    assert problem in job.told
    assert not job.store.exists()


def test_a_module_that_cannot_be_imported_says_where(job: Job) -> None:
    """The line of the author's own file."""
    job.give(order("tea", 1))
    job.module.write_text("import sys\n\nsys.exit('not today')\n")

    assert 2 == job.run()
    assert f"SystemExit: not today ({job.module}, line 3)" in job.told


def test_a_file_with_the_name_of_a_loaded_module_is_refused(job: Job, tmp_path: Path) -> None:
    """It would be that module from then on, for whoever imports it."""
    job.give(order("tea", 1))
    (tmp_path / "json.py").write_text(job.module.read_text())

    assert 2 == job.run(agent=f"{tmp_path / 'json.py'}:agent")
    assert "rename the file" in job.told


def test_an_agent_that_is_wrongly_declared_is_a_usage_error(job: Job) -> None:
    """Found before anything runs."""
    job.give(order("tea", 1))
    job.add_to_module("agent.add_action('sell', InputEvent, sell)")

    assert 2 == job.run()
    assert "'sell'" in job.told
    assert not job.store.exists()


def test_an_input_that_cannot_be_read_is_a_usage_error(job: Job) -> None:
    """It is not there."""
    assert 2 == job.run()
    assert f"--input {job.input} cannot be read: No such file or directory" in job.told


@pytest.mark.parametrize(
    ("roles", "problem"),
    [
        (("input", "output"), "--output and --input are the same file"),
        (("store", "output"), "--output and --store are the same file"),
        (("input", "store"), "--store and --input are the same file"),
    ],
)
def test_one_file_in_two_roles_is_refused(
    roles: tuple[str, str], problem: str, job: Job
) -> None:
    """The one would be written over the other."""
    job.give(order("tea", 1))

    path = job.input if "input" in roles else job.store

    assert 2 == job.run(*(f"--{role}={path}" for role in roles))
    assert problem in job.told
    assert order("tea", 1) == json.loads(job.input.read_text())


def test_a_store_that_another_worker_owns_is_a_store_error(job: Job) -> None:
    """It names the owner."""
    job.give(order("tea", 1))
    owned = job.store.with_name("shop.db.lock")
    with owned.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("another worker (process 7)")
        lock.flush()

        assert 3 == job.run()
    assert "it is owned by another worker (process 7)" in job.told


def test_another_agent_over_the_same_inputs_needs_another_store(job: Job) -> None:
    """Its runs would have the same ids: nothing of it would run."""
    job.give(order("tea", 1))
    job.run()
    job.module.write_text(job.module.read_text().replace('"shop"', '"kiosk"'))
    renamed = job.module.with_stem(f"{job.module.stem}_2")
    job.module.rename(renamed)

    job.output.unlink()

    assert 2 == job.run(agent=f"{renamed}:agent")
    assert "is one of agent 'shop', not of 'kiosk'" in job.told


@pytest.mark.parametrize(
    "option",
    ["--concurrency=0", "--limit=payments", "--limit=payments=0", "--grace=-1", "--sync=half"],
)
def test_options_out_of_range_are_refused(option: str, job: Job) -> None:
    """As argparse has it."""
    with pytest.raises(SystemExit) as ended:
        job.run(option)

    assert 2 == ended.value.code


def test_limits_and_sync_reach_the_worker(job: Job) -> None:
    """A function that declares a limit needs the worker to have it."""
    job.add_to_module(
        """
        limited = Agent("shop", input=Order)

        @durable(limit="payments")
        async def pay(amount):
            return amount

        @limited.action(InputEvent)
        async def sell_limited(event, ctx):
            ctx.output(await ctx.durable(pay, event.input.amount))
        """
    )
    job.give(order("tea", 1))

    code = job.run(
        "--limit=payments=2", "--sync=normal", "--concurrency=3", agent=f"{job.module}:limited"
    )

    assert (0, 1) == (code, job.outputs()[0]["value"])


@pytest.mark.parametrize("command", ["run", "runs", "show"])
def test_each_command_has_help_that_names_its_options(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--help` ends with 0."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])

    assert 0 == ended.value.code
    assert "--store FILE" in capsys.readouterr().out
