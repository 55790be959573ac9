"""The steps, each a function that works until nothing is due or its time is up.

    plan      changed devices → what is desired of which registration
    map       users → Dataverse records
    recheck   mapped records → still active, moved, or lost
    changes   Dataverse's change tracking → re-checks and look-ups that are due now
    push      desired registrations → sent
    confirm   sent → registered or failed
    cleanup   no longer desired → retired
    relay     interaction events → CI-J

A step claims, commits, calls, settles; it returns what other steps can do something now.
"""
