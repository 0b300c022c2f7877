"""A simulated machine that raises alarms and keeps a history, beside the real collector: what is stored is what the truth says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulators.machines.cnc import Cnc
from simulators.recording.rows import rows as recorded
from tests.line.harness import Collector, Simulation, collector, eventually, simulation
from tests.line.test_replay import export, verify
from tests.simulators.runs import rows

LONG = 1_000_000  # s: until it is cleared, or to the end of the run


class Ran:
    """What was said and what was stored, as (time, value) by machine and signal."""

    def __init__(self, truth: Path, data: Path) -> None:
        self.truth = truth
        self.stored: dict[tuple[str, str], list[tuple[int, Any]]] = {}
        for row in recorded(data):
            if row.value is None:
                continue  # a lost connection is stored as such
            self.stored.setdefault((row.machine, row.signal), []).append((row.t, row.value))

    def alarms(self, condition: str) -> list[dict[str, Any]]:
        return [row for row in rows(self.truth, "alarm") if row["condition"] == condition]


def lived(folder: Path) -> Ran:
    time = ("--start", "2026-03-02T06:00:00Z", "--speed", "4", "--seed", "42", "--faults")
    data = folder / "data.jsonl"
    with (
        simulation(folder, "cnc=mill", "robot=bot", *time) as simulated,
        collector(simulated.deepen()) as running,
    ):
        running.wait_connected("mill", "bot")
        simulated.go()
        truth = Path(simulated.ready["truth"])
        happens(simulated, running)
        simulated.stop_changes()
        whole = lambda: verify(str(truth), export(simulated.config, data))[0] == 0  # noqa: E731 - asked again and again
        eventually(whole, f"what is missing is explained; {running.log()[-2000:]}")
        books = running.stop()
    assert books["unaccounted"] == 0
    code, found, words = verify(str(truth), export(simulated.config, data))
    assert code == 0, f"{found}\n{words}\n{running.log()[-3000:]}"
    assert found["explained"] > 100, "nothing was lost: this tests nothing"
    return Ran(truth, data)


def happens(simulated: Simulation, running: Collector) -> None:
    """A tool breaks, the line is cut, coolant fails and comes back while nobody listens, the line is back, the tool is changed,
    and a part is stuck to the end. Each step waits for the one before it, however slow this computer is.
    """

    def told(condition: str, count: int) -> None:
        def there() -> bool:
            return [row["condition"] for row in simulated.told("alarm")].count(condition) >= count

        eventually(there, f"{condition} is in the truth {count} times")

    running.wait_for_more(100, "mill")
    simulated.tell({"inject": {"machine": "mill", "fault": "tool_break", "for": LONG}})
    told("ToolBroken", 1)
    running.wait_for_more(50, "mill")
    simulated.tell({"inject": {"machine": "mill", "fault": "refuse", "for": LONG}})
    simulated.tell({"inject": {"machine": "mill", "fault": "cut"}})
    running.wait_lost("mill")
    simulated.tell({"inject": {"machine": "mill", "fault": "coolant_loss", "for": 1}})
    told("CoolantLoss", 2)
    simulated.wait_for_more(300)
    simulated.tell({"clear": {"machine": "mill", "fault": "refuse"}})
    running.wait_connected("mill")
    running.wait_for_more(50, "mill")
    simulated.tell({"clear": {"machine": "mill", "fault": "tool_break"}})
    told("ToolBroken", 2)
    simulated.tell({"inject": {"machine": "bot", "fault": "jam", "for": LONG}})
    told("PartStuck", 1)
    running.wait_for_more(50, "mill")


def an_alarm_is_stored_with_the_time_of_the_truth_from_its_beginning_to_its_end(ran: Ran) -> None:
    broken = ran.alarms("ToolBroken")
    assert [row["active"] for row in broken] == [True, False]
    for word in ("active", "severity", "message", "event_id"):
        stored = ran.stored["mill", f"alarm.Tool.ToolBroken.{word}"]
        assert [(row["t"], row[word]) for row in broken if (row["t"], row[word]) not in stored] == []
    first, *_, last = sorted(ran.stored["mill", "alarm.Tool.ToolBroken.active"])
    assert first == (broken[0]["t"], True)
    assert last[1] is False  # at its end, or at that of a refresh after it


def an_alarm_that_began_while_nobody_listened_is_told_by_the_refresh(ran: Ran) -> None:
    """The coolant failed and came back while the line was cut; nobody has acknowledged it, so the server tells it still."""
    began, ended = ran.alarms("CoolantLoss")
    assert any(row["t"] > ended["t"] for row in rows(ran.truth, "refresh") if row["machine"] == "mill")
    stored = ran.stored["mill", "alarm.Coolant.CoolantLoss.active"]
    assert stored[0] == (ended["t"], False)
    assert (began["t"], True) not in stored


def what_the_machine_remembers_is_whole_in_spite_of_the_cut(ran: Ran) -> None:
    said: dict[str, list[tuple[int, Any]]] = {}
    for row in rows(ran.truth):
        if row["machine"] == "mill":
            said.setdefault(row["signal"], []).append((row["t"], row["value"]))
    again = {at for at, _ in ran.stored["collector", "restated.mill"]}
    once = {name: sorted(row for row in ran.stored["mill", name] if row[0] not in again) for name in said}
    for signal in Cnc.remembered:
        assert once[signal] == sorted(said[signal])
    forgotten = [name for name in said if once[name] != sorted(said[name])]
    assert "spindle_speed" in forgotten
    assert not set(forgotten) & set(Cnc.remembered)
    words = [value for _, value in ran.stored["collector", "gap.mill.repair"]]
    assert any("values of" in word and "from the server's history" in word for word in words), words


def the_end_of_a_run_ends_its_faults_but_not_its_alarms(ran: Ran) -> None:
    """A cause that ends with the last step has no step any more in which its alarm could end."""
    assert [row["active"] for row in ran.alarms("PartStuck")] == [True]
    assert ran.stored["bot", "alarm.Gripper.PartStuck.active"][0][1] is True


def test_a_machine_that_lives_is_stored_as_it_lived(tmp_path: Path) -> None:
    ran = lived(tmp_path)
    an_alarm_is_stored_with_the_time_of_the_truth_from_its_beginning_to_its_end(ran)
    an_alarm_that_began_while_nobody_listened_is_told_by_the_refresh(ran)
    what_the_machine_remembers_is_whole_in_spite_of_the_cut(ran)
    the_end_of_a_run_ends_its_faults_but_not_its_alarms(ran)
