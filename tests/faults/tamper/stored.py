"""Classes of tampering with the database itself, by a superuser who switched the triggers off: (name, what is done, how it is found).

`test_database.py` does each of them.
"""

CHECK = "`aliquot log check`: "
STORED: list[tuple[str, str, str]] = [
    ("roles_given", "A person's roles are changed in their row.", CHECK + "altered, person, roles"),
    ("person_disabled_again", "A disabled person is enabled in their row.", CHECK + "altered, person, active"),
    ("password_moved", "Somebody's password is put into another person's row.", CHECK + "altered, person, password"),
    ("right_to_sign_given", "The right to sign is given in a person's row.", CHECK + "altered, person, signing"),
    ("hold_on_signing_lifted", "What keeps somebody with a reset password from signing is lifted.", CHECK + "altered, person, signing"),
    ("second_factor_removed", "A person's second factor is deleted.", CHECK + "altered, person, second factor"),
    ("key_invented", "An API key with a known secret is made for an administrator.", CHECK + "unrecorded, api key"),
    ("key_given_to_somebody_else", "One's own API key is put under an administrator's name.", CHECK + "altered, api key, key"),
    ("key_revived", "A revoked API key works again.", CHECK + "altered, api key, revoked"),
    ("session_revived", "A log-in that was ended stands again, for a token that was stolen.", CHECK + "altered, session, revoked"),
    (
        "identity_moved",
        "One's identity at the provider of single sign-on is put under an administrator's name.",
        CHECK + "damaged, sso identity, person; it opens no log-in",
    ),
    ("schedule_shortened", "A kind of record is kept for no day any more.", CHECK + "damaged, retention schedule, keep days"),
    ("hold_released", "A legal hold is released in its row.", CHECK + "unrecorded, legal hold"),
    ("hold_removed", "A legal hold is deleted.", CHECK + "deleted, legal hold"),
    ("emergency_justified", "An emergency access is declared justified by nobody.", CHECK + "unrecorded, break glass"),
    ("name_moved", "The sealed name of one person is put into another's row.", CHECK + "damaged, person, name"),
    ("results_improved", "The results of an instrument run are changed.", CHECK + "altered, instrument run, results"),
    ("run_hidden", "An instrument run is deleted.", CHECK + "deleted, instrument run"),
    ("run_invented", "An instrument run is made in the table.", CHECK + "unrecorded, instrument run"),
    ("message_moved", "The sealed text of one message is put into another's row.", CHECK + "damaged, run, message"),
    ("decision_turned", "A denial is turned into a permission in the table of decisions.", CHECK + "altered, policy decision, decision"),
    ("approval_granted", "A pending approval is set to approved.", CHECK + "unrecorded, approval"),
    ("approval_hidden", "A request that ran out is deleted.", CHECK + "deleted, approval"),
    ("step_skipped", "A step of a plan that waits is set to done, so that it would be left out.", CHECK + "altered, plan, steps"),
    ("step_replaced", "The sealed call of one step of a plan is put into another's row.", CHECK + "damaged, plan, arguments"),
    ("plan_revived", "A plan that was stopped is set to paused, so that it could be resumed.", CHECK + "altered, plan, state"),
    ("plan_hidden", "A plan is deleted with its steps.", CHECK + "deleted, plan"),
    ("plan_invented", "A plan is made in the table.", CHECK + "unrecorded, plan"),
    (
        "external_tool_accepted",
        "The changed definition of an external tool is made the accepted one.",
        CHECK + "altered, mcp tool, accepted and offered",
    ),
    (
        "external_tool_rewritten",
        "The accepted definition of an external tool is changed under its hash.",
        CHECK + "damaged, mcp tool, accepted",
    ),
    ("external_change_hidden", "It is hidden that a tool's server shows another definition by now.", CHECK + "altered, mcp tool, offered"),
    ("external_change_emptied", "The other definition is taken out, so that nobody can look at it.", CHECK + "damaged, mcp tool, offered"),
    (
        "external_tool_forgotten",
        "What was accepted of an external tool is deleted.",
        CHECK + "deleted, mcp tool; nothing is a first sight again",
    ),
    ("external_tool_invented", "An external tool that nobody saw is put in as accepted.", CHECK + "unrecorded, mcp tool"),
    ("event_rewritten", "An event's bytes are changed in the table.", CHECK + "event altered, body; the export: edited"),
    ("event_renamed", "An event is hidden from lists by its search columns.", CHECK + "event altered, columns"),
    ("event_removed", "An event's row is deleted.", CHECK + "event altered, missing; the export: removed"),
    (
        "leaf_replaced",
        "An event and its leaf hash are changed together.",
        CHECK + "event altered, root; the sequencer stops at its next start",
    ),
]
