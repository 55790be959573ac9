"""The steps, each a function that works until nothing is due or its time is up.

    check     every device in turn → planned anew where its registrations do not follow from it
    plan      changed devices → what is desired of which registration
    map       users → Dataverse records
    recheck   mapped records → still active, moved, or lost
    changes   Dataverse's change tracking → re-checks and look-ups that are due now
    push      desired registrations → sent
    confirm   sent → registered or failed
    cleanup   no longer desired → retired
    relay     interaction events → CI-J
    tally     changes of events → their sums
    replace   devices of an app whose connection was replaced → planned anew, in batches
    rotate    ApiTokens that are to replace others → in use, once CI-J accepts them
    erase     erasures whose cleanups are accepted → deleted
    hygiene   what was not seen for too long, or is over for long → retired, deleted
    bulk      what people have done to many rows at once → the rows marked, a file's devices imported
    figures   the history and the tables → what the dashboard shows
    census    registrations and devices → counted, for /metrics
    notify    alerts → people, by e-mail and webhook

A step claims, commits, calls, settles; it returns what other steps can do something now.
"""
