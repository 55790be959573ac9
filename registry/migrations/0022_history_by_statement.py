"""Lines of the history are written by one statement for all rows of a change: one by one they cost a settled batch more
than all the rest of it."""

from django.db import migrations

# The numbers are those of registry.states.HistoryKind. Both tables of a change are joined by hash: the plan is kept, and
# one that was made for a single row would compare each of a million with each.
_BY_STATEMENT = """
DROP TRIGGER history_created ON registry_device;
CREATE FUNCTION registry_note_new_devices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO registry_historyentry (at, kind, app_id, device_id, user_id, token_end, by, data)
    SELECT now(), 1, app_id, id, user_id, right(token, 6), coalesce(current_setting('tokenhub.by', true), ''),
        jsonb_build_object('platform', platform)
    FROM made;
    RETURN NULL;
END $$;
CREATE TRIGGER history_created AFTER INSERT ON registry_device REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION registry_note_new_devices();

DROP TRIGGER history_changed ON registry_dataversemapping;
CREATE FUNCTION registry_note_mappings() RETURNS trigger LANGUAGE plpgsql SET enable_nestloop = off AS $$
BEGIN
    INSERT INTO registry_historyentry (at, kind, app_id, user_id, by, data)
    SELECT now(), CASE WHEN n.decided_at IS DISTINCT FROM o.decided_at THEN 31 ELSE 30 END,
        (SELECT u.app_id FROM registry_mobileuser u WHERE u.id = n.user_id), n.user_id,
        coalesce(current_setting('tokenhub.by', true), ''),
        jsonb_strip_nulls(jsonb_build_object('state', n.state, 'was', o.state, 'table', nullif(n."table", ''),
            'id', n.dataverse_id, 'by', nullif(n.matched_by, ''), 'why', nullif(left(n.detail, 200), ''),
            'candidates', nullif(jsonb_array_length(n.candidates), 0)))
    FROM was o JOIN changed n USING (user_id)
    WHERE n.state <> o.state OR n.dataverse_id IS DISTINCT FROM o.dataverse_id OR n."table" <> o."table"
        OR n.decided_at IS DISTINCT FROM o.decided_at;
    RETURN NULL;
END $$;
CREATE TRIGGER history_changed AFTER UPDATE ON registry_dataversemapping
    REFERENCING OLD TABLE AS was NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION registry_note_mappings();

DROP TRIGGER history_changed ON registry_registration;
DROP FUNCTION registry_note_call;
-- What became of a call: the first that applies. Of an attempt that is repeated again and again the 1st, 2nd, 4th, 8th …
-- are told: enough to see how long it goes on, and an outage fills no table.
CREATE FUNCTION registry_note_calls() RETURNS trigger LANGUAGE plpgsql SET enable_nestloop = off AS $$
BEGIN
    INSERT INTO registry_historyentry (at, kind, app_id, device_id, registration_id, token_end, by, data)
    SELECT now(), told.kind, n.app_id, n.device_id, n.id, right(n.token, 6),
        coalesce(current_setting('tokenhub.by', true), ''),
        jsonb_strip_nulls(jsonb_build_object(
            'sent', CASE WHEN told.kind IN (40, 41) THEN n.sent_at WHEN told.kind = 43 THEN o.sent_at END,
            'reason', CASE WHEN told.kind = 41 THEN n.reason END,
            'round', CASE WHEN told.kind = 43 THEN n.rounds END,
            'step', CASE WHEN told.kind = 42 THEN o.step END,
            'attempt', CASE WHEN told.kind = 42 THEN n.attempts END,
            'why', CASE WHEN told.kind IN (41, 42, 44) THEN nullif(left(n.detail, 200), '') END
        ))
    FROM was o JOIN changed n USING (id)
    CROSS JOIN LATERAL (SELECT CASE
        WHEN n.state = 'registered' AND o.state <> 'registered' THEN 40
        WHEN n.state = 'failed' AND o.state <> 'failed' THEN 41
        WHEN n.cleaned_at IS NOT NULL AND o.cleaned_at IS NULL THEN 44
        WHEN n.rounds > o.rounds THEN 43
        WHEN n.attempts > o.attempts AND n.attempts & (n.attempts - 1) = 0 THEN 42
    END AS kind) AS told
    WHERE told.kind IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER history_changed AFTER UPDATE ON registry_registration
    REFERENCING OLD TABLE AS was NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION registry_note_calls();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0021_api_tokens'),
    ]

    operations = [
        migrations.RunSQL(_BY_STATEMENT),
    ]
