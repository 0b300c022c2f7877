"""Which rule of Sparkplug B 3.0 for hosts is proved by which test: the table, checked by test_table.py and written to RULES.md.

The ids are those of the specification's own list (eclipse-sparkplug/sparkplug, chapters 1 to 10): every rule whose subject is the
host application, and those of edges that a host must notice when they are broken. `python -m tests.mqtt.sparkplug.rules --write`
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("RULES.md")
_BIRTH: Final = "test_primary.py::test_the_birth_is_said_after_the_subscription_and_the_death_before_leaving"
_WILL: Final = "test_primary.py::test_the_will_bears_the_time_of_the_birth"
_STATE: Final = (_BIRTH, _WILL)
_NODE_DEATH: Final = "test_rules.py::test_a_node_death_makes_everything_stale_when_it_is_learnt"
_DEVICE_DEATH: Final = "test_rules.py::test_a_device_death_makes_that_device_stale"
_REQUEST: Final = "test_rules.py::test_a_rebirth_request_is_what_the_rules_say"
_ALLOWED: Final = "test_broker.py::test_a_rebirth_is_asked_for_only_when_it_is_allowed"
_ORDER: Final = "test_rules.py::test_messages_that_changed_places_are_read_in_their_order"
_LATE: Final = "test_rules.py::test_what_does_not_come_in_time_is_lost_and_said_so"
_STRICT: Final = "test_strict.py::test_a_birth_that_was_missed_brings_no_value_under_a_wrong_name"
_BROKEN: Final = "test_broker.py::test_what_nobody_can_understand_is_refused_by_name"

HOST: Final[Mapping[str, Sequence[str]]] = {
    "intro-sparkplug-host-state": _STATE,
    "components-ph-state": _STATE,
    "conformance-primary-host": _STATE,
    "topics-ncmd-mqtt": (_ALLOWED,),
    "topics-ncmd-timestamp": (_REQUEST,),
    "topics-ncmd-payload": (_REQUEST,),
    **{f"host-topic-phid-birth-{rule}": (_BIRTH,) for rule in
       ("message", "qos", "retain", "topic", "sub-required", "required", "payload")},
    "host-topic-phid-birth-payload-timestamp": (_WILL,),
    **{f"host-topic-phid-death-{rule}": _STATE for rule in
       ("qos", "retain", "topic", "required", "payload", "payload-timestamp-connect")},
    "host-topic-phid-death-payload-timestamp-disconnect-clean": (_BIRTH,),
    "message-flow-phid-sparkplug-clean-session-311": (_WILL,),
    "message-flow-phid-sparkplug-clean-session-50": (_WILL,),
    "message-flow-phid-sparkplug-subscription": (_BIRTH,),
    "message-flow-phid-sparkplug-state-publish": (_BIRTH,),
    "message-flow-phid-sparkplug-state-publish-payload": (_BIRTH,),
    "message-flow-phid-sparkplug-state-publish-payload-timestamp": (_WILL,),
    "message-flow-hid-sparkplug-state-message-delivered": ("test_primary.py::test_who_says_that_we_are_away_is_contradicted",),
    **{f"operational-behavior-edge-node-termination-host-action-ndeath-{rule}": (_NODE_DEATH,) for rule in
       ("node-offline", "node-tags-stale", "devices-offline", "devices-tags-stale")},
    **{f"operational-behavior-edge-node-termination-host-action-ddeath-{rule}": (_DEVICE_DEATH,) for rule in
       ("devices-offline", "devices-tags-stale")},
    "operational-behavior-host-reordering-param": (_LATE,),
    "operational-behavior-host-reordering-start": (_ORDER, _LATE),
    "operational-behavior-host-reordering-rebirth": (_LATE,),
    "operational-behavior-host-reordering-success": (_ORDER,),
    **{f"operational-behavior-host-application-connect-{rule}": _STATE for rule in
       ("will", "will-topic", "will-payload", "will-qos", "will-retained",
        "birth", "birth-topic", "birth-payload", "birth-qos", "birth-retained")},
    **{f"operational-behavior-host-application-{rule}": (_BIRTH,) for rule in
       ("termination", "death-topic", "death-payload", "death-qos", "death-retained", "disconnect-intentional")},
    **{f"operational-behavior-data-commands-ncmd-{rule}": (_REQUEST,) for rule in
       ("rebirth-verb", "rebirth-name", "rebirth-value", "verb", "metric-name", "metric-value")},
    "payloads-ncmd-timestamp": (_REQUEST,),
    "payloads-ncmd-seq": (_REQUEST,),
    "payloads-ncmd-qos": (_ALLOWED,),
    "payloads-ncmd-retain": (_ALLOWED,),
    **{f"payloads-state-{rule}": _STATE for rule in
       ("will-message", "will-message-qos", "will-message-retain", "will-message-payload", "subscribe", "birth", "birth-payload")},
}  # fmt: skip
"""Rules whose subject is the host."""

EDGE: Final[Mapping[str, Sequence[str]]] = {
    "payloads-sequence-num-always-included": ("test_strict.py::test_a_message_without_seq_proves_nothing",),
    "payloads-sequence-num-req-nbirth": ("test_rules.py::test_a_birth_may_begin_with_any_seq",),
    "payloads-sequence-num-incrementing": ("test_rules.py::test_seq_wraps_from_255_to_0", _STRICT),
    "payloads-nbirth-seq": ("test_rules.py::test_a_birth_may_begin_with_any_seq",),
    "payloads-alias-uniqueness": ("test_rules.py::test_an_alias_of_two_metrics_is_nobodys",
                                  "test_rules.py::test_an_alias_of_the_node_is_none_of_the_device"),
    "payloads-alias-birth-requirement": ("test_rules.py::test_a_birth_tells_values_and_aliases_and_alias_0_is_one",
                                         "test_rules.py::test_a_rebirth_gives_aliases_another_meaning", _STRICT),
    "payloads-alias-data-cmd-requirement": ("test_rules.py::test_name_and_alias_that_contradict_are_refused",),
    "payloads-name-requirement": ("test_rules.py::test_name_and_alias_that_contradict_are_refused", _BROKEN),
    "payloads-name-birth-data-requirement": ("test_rules.py::test_null_historical_and_times",),
    "payloads-metric-datatype-req": ("test_rules.py::test_another_datatype_than_in_the_birth_is_refused_unless_both_are_numbers",),
    "payloads-metric-datatype-value": (_BROKEN,),
    "payloads-metric-datatype-not-req": ("test_broker.py::test_every_dialect_is_read_to_the_last_value",),
    "payloads-propertyset-quality-value-type": ("test_rules.py::test_quality_is_a_property",),
    "payloads-propertyset-quality-value-value": ("test_rules.py::test_quality_is_a_property",),
    "payloads-dataset-column-num-headers": (_BROKEN,),
    "payloads-dataset-types-num": (_BROKEN,),
    "payloads-template-instance-members": ("test_broker.py::test_broken_rules_bring_no_wrong_value_and_balanced_books",),
    "payloads-dbirth-order": ("test_rules.py::test_a_node_birth_does_not_bear_its_devices",),
    "payloads-ndata-order": ("test_rules.py::test_data_before_any_birth_are_known_by_name_alone",),
    "payloads-ndeath-bdseq": ("test_rules.py::test_an_old_death_is_ignored", "test_rules.py::test_a_death_with_the_next_bd_seq_counts"),
    "payloads-nbirth-bdseq": ("test_rules.py::test_births_without_bd_seq_die_by_any_death",),
    "payloads-nbirth-retain": ("test_rules.py::test_retained_births_tell_names_and_are_not_now",
                               "test_strict.py::test_a_retained_birth_proves_no_alias"),
    "operational-behavior-data-publish-nbirth-values": ("test_rules.py::test_null_with_a_value_and_nothing_at_all_are_refused",),
    "topic-structure-namespace-a": ("test_broker.py::test_a_bridge_that_rewrites_topics_is_named_in_the_settings",),
    "topic-structure-namespace-device-id-non-associated-message-types": ("test_rules.py::test_what_is_not_said_to_hosts_is_nothing",),
    "topics-ndeath-seq": (_NODE_DEATH,),
}  # fmt: skip
"""Rules of edges that a host meets broken or has to know."""

NOT_OURS: Final[Mapping[str, str]] = {
    **{f"{chapter}-dcmd-{rule}": "no command is ever sent to a device" for chapter, rule in (
        ("topics", "mqtt"), ("topics", "timestamp"), ("topics", "payload"), ("payloads", "timestamp"), ("payloads", "seq"),
        ("payloads", "qos"), ("payloads", "retain"))},
    **{f"operational-behavior-data-commands-dcmd-{rule}": "no command is ever sent to a device" for rule in
       ("verb", "metric-name", "metric-value")},
    "host-topic-phid-death-payload-timestamp-disconnect-with-no-disconnect-packet": "the connection always ends with DISCONNECT, or is lost",
    "operational-behavior-host-application-host-id": "whoever configures it sees to it that the id is unique",
    "operational-behavior-host-application-multi-server-timestamp": "each source is one connection to one broker, with its own time",
    "operational-behavior-primary-application-state-with-multiple-servers-state-subs": "one source per broker; each says its STATE",
    "operational-behavior-primary-application-state-with-multiple-servers-state": "one source per broker; each says its STATE",
    "payloads-name-cmd-requirement": "allowed, not asked",
}  # fmt: skip
"""Rules for hosts that say nothing about this one, and why."""


def text() -> str:
    lines = ["# Rules of Sparkplug B 3.0 and their tests", "", "Made by `python -m tests.mqtt.sparkplug.rules --write` from `rules.py`; ids without `tck-id-`.", ""]  # fmt: skip
    for title, rules in (("Rules for hosts", HOST), ("Rules of edges that a host must notice or know", EDGE)):
        lines += [f"## {title}", "", "| rule | test |", "|---|---|"]
        lines += [f"| {rule} | {', '.join(f'`{test}`' for test in tests)} |" for rule, tests in rules.items()]
        lines.append("")
    lines += ["## Rules for hosts that do not apply", "", "| rule | why |", "|---|---|"]
    return "\n".join([*lines, *(f"| {rule} | {why} |" for rule, why in NOT_OURS.items()), ""])


if __name__ == "__main__" and "--write" in sys.argv:
    FILE.write_text(text(), "utf-8")
