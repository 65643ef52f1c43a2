"""Classes of tampering with the database itself, by a superuser who switched the triggers off: (name, what is done, how it is found).

`test_database.py` does each of them.
"""

CHECK = "`aliquot log check`: "
STORED: list[tuple[str, str, str]] = [
    ("roles_given", "A person's roles are changed in their row.", CHECK + "altered, person, roles"),
    ("person_disabled_again", "A disabled person is enabled in their row.", CHECK + "altered, person, active"),
    ("name_moved", "The sealed name of one person is put into another's row.", CHECK + "damaged, person, name"),
    ("results_improved", "The results of an instrument run are changed.", CHECK + "altered, instrument run, results"),
    ("run_hidden", "An instrument run is deleted.", CHECK + "deleted, instrument run"),
    ("run_invented", "An instrument run is made in the table.", CHECK + "unrecorded, instrument run"),
    ("message_moved", "The sealed text of one message is put into another's row.", CHECK + "damaged, run, message"),
    ("decision_turned", "A denial is turned into a permission in the table of decisions.", CHECK + "altered, policy decision, decision"),
    ("approval_granted", "A pending approval is set to approved.", CHECK + "unrecorded, approval"),
    ("event_rewritten", "An event's bytes are changed in the table.", CHECK + "event altered, body; the export: edited"),
    ("event_renamed", "An event is hidden from lists by its search columns.", CHECK + "event altered, columns"),
    ("event_removed", "An event's row is deleted.", CHECK + "event altered, missing; the export: removed"),
    (
        "leaf_replaced",
        "An event and its leaf hash are changed together.",
        CHECK + "event altered, root; the sequencer stops at its next start",
    ),
]
