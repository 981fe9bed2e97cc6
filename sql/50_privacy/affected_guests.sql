-- For a breach (GDPR Art. 33 and 34): whose data a role may have seen or taken, as far as the trail tells.
CREATE FUNCTION guestcomms.get_breach_deadline(known_at timestamptz, OUT due_at timestamptz, OUT time_left interval)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$ SELECT known_at + interval '72 hours', known_at + interval '72 hours' - now() $$;
COMMENT ON FUNCTION guestcomms.get_breach_deadline(timestamptz) IS
$$Until when a breach that became known at a time is to be reported to the supervisory authority (GDPR Art. 33: 72 hours, counted through nights and weekends), and how long that still is; below 0 once it is over, when the report says why it is late.
Example: SELECT due_at, time_left FROM guestcomms.get_breach_deadline(now() - interval '3 hours');
See also: list_affected_guests$$;

CREATE FUNCTION guestcomms_internal.audited_guests(tenant_id uuid, since timestamptz, until timestamptz, role text)
RETURNS TABLE (entry_id uuid, occurred_at timestamptz, actor text, action text, guest_id uuid, certainty text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
    WITH entry AS (
        SELECT e.entry_id, e.occurred_at, e.actor, e.action, e.object, c.content,
            (regexp_match(e.object, '^(guest|export|request|hold|message|thread|conversation) ([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$')) AS named
        FROM guestcomms.audit_entries AS e
        LEFT JOIN guestcomms.audit_contents AS c ON c.tenant_id = e.tenant_id AND c.entry_id = e.entry_id
        WHERE e.tenant_id = audited_guests.tenant_id AND e.occurred_at >= audited_guests.since AND e.occurred_at < audited_guests.until
            AND (audited_guests.role IS NULL OR audited_guests.role IN (e.actor, e.acting_role))
            -- What jobs do, nobody sees.
            AND e.action NOT IN ('run_archive', 'run_retention', 'expire_export')
    )
    SELECT e.entry_id, e.occurred_at, e.actor, e.action, g.guest_id,
        CASE WHEN e.action = 'read_export' THEN 'taken' WHEN g.guest_id IS NOT NULL THEN 'named' ELSE 'could see all' END
    FROM entry AS e
    LEFT JOIN LATERAL (
        SELECT coalesce(
            CASE e.named[1]
                WHEN 'guest' THEN e.named[2]::uuid
                WHEN 'export' THEN (SELECT x.guest_id FROM guestcomms.exports AS x WHERE x.tenant_id = audited_guests.tenant_id AND x.export_id = e.named[2]::uuid)
                WHEN 'request' THEN (SELECT r.guest_id FROM guestcomms.subject_requests AS r WHERE r.tenant_id = audited_guests.tenant_id AND r.request_id = e.named[2]::uuid)
                WHEN 'hold' THEN (SELECT h.guest_id FROM guestcomms.legal_holds AS h WHERE h.tenant_id = audited_guests.tenant_id AND h.hold_id = e.named[2]::uuid)
                WHEN 'message' THEN (SELECT m.guest_id FROM guestcomms.messages AS m WHERE m.tenant_id = audited_guests.tenant_id AND m.message_id = e.named[2]::uuid
                    AND m.sent_at >= guestcomms.uuid_v7_time(e.named[2]::uuid) AND m.sent_at < guestcomms.uuid_v7_time(e.named[2]::uuid) + interval '1 millisecond')
                ELSE (SELECT t.guest_id FROM guestcomms.threads AS t WHERE t.tenant_id = audited_guests.tenant_id AND t.thread_id = e.named[2]::uuid)
            END,
            CASE WHEN e.content ->> 'guest_id' ~ '^[0-9a-f-]{36}$' THEN (e.content ->> 'guest_id')::uuid END) AS guest_id
    ) AS g ON true;
END $$;
COMMENT ON FUNCTION guestcomms_internal.audited_guests(uuid, timestamptz, timestamptz, text) IS
'Entries of a tenant''s audit trail and the guest that each speaks of; without one, whoever acted had the tenant open, with all its guests.';

CREATE FUNCTION guestcomms.list_affected_guests(since timestamptz, until timestamptz DEFAULT NULL, role text DEFAULT NULL, max_rows integer DEFAULT 1000, after uuid DEFAULT NULL)
RETURNS TABLE (guest_id uuid, certainty text, guest_count bigint, actor text, actions text[], first_at timestamptz, last_at timestamptz, entry_count bigint)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 1000 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_until timestamptz := coalesce(list_affected_guests.until, 'infinity');
    v_guest_count bigint;
BEGIN
    IF list_affected_guests.since IS NULL OR list_affected_guests.since >= v_until OR list_affected_guests.max_rows IS NULL OR list_affected_guests.max_rows NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the time or the number of rows is out of bounds',
            DETAIL = format('since is %s, until %s, max_rows %s.', coalesce(list_affected_guests.since::text, 'null'), v_until, coalesce(list_affected_guests.max_rows::text, 'null')),
            HINT = 'since is before until; max_rows is from 1 to 10000.';
    END IF;
    v_guest_count := (SELECT count(*) FROM guestcomms.guests AS g WHERE g.tenant_id = v_tenant AND g.erased_at IS NULL);
    IF list_affected_guests.after IS NULL THEN
        RETURN QUERY
        -- All guests at once: a copy of all was taken, or the tenant was open to whoever acted there.
        SELECT NULL::uuid, a.certainty, v_guest_count, a.actor, array_agg(DISTINCT a.action), min(a.occurred_at), max(a.occurred_at), count(*)
        FROM guestcomms_internal.audited_guests(v_tenant, list_affected_guests.since, v_until, list_affected_guests.role) AS a
        WHERE a.guest_id IS NULL
        GROUP BY a.certainty, a.actor
        ORDER BY a.certainty DESC, a.actor;
        RETURN QUERY
        -- Who could open it and of whom the trail says nothing: reading leaves no entry.
        SELECT NULL::uuid, 'possible'::text, v_guest_count, m.role_name, ARRAY['add_member'], m.added_at, NULL::timestamptz, 0::bigint
        FROM guestcomms.tenant_members AS m
        WHERE m.tenant_id = v_tenant AND m.added_at < v_until AND (list_affected_guests.role IS NULL OR m.role_name = list_affected_guests.role
            OR EXISTS (SELECT FROM pg_catalog.pg_roles AS r JOIN pg_catalog.pg_roles AS o ON o.rolname = m.role_name
                WHERE r.rolname = list_affected_guests.role AND pg_has_role(r.oid, o.oid, 'USAGE')))
        UNION ALL
        SELECT NULL, 'possible', v_guest_count, substring(e.object FROM 6), ARRAY[e.action], e.occurred_at, e.occurred_at, 1
        FROM guestcomms.audit_entries AS e
        WHERE e.tenant_id = v_tenant AND e.action = 'remove_member' AND e.occurred_at >= list_affected_guests.since
            AND (list_affected_guests.role IS NULL OR e.object = 'role ' || list_affected_guests.role)
        UNION ALL
        SELECT NULL, 'possible', v_guest_count, r.rolname, ARRAY['use_tenant'], NULL, NULL, 0
        FROM pg_catalog.pg_roles AS r
        WHERE r.rolcanlogin AND NOT r.rolsuper AND pg_has_role(r.oid, 'guestcomms_operator', 'USAGE') AND (list_affected_guests.role IS NULL OR r.rolname = list_affected_guests.role)
        ORDER BY 4, 5;
    END IF;
    RETURN QUERY
    SELECT a.guest_id, CASE WHEN bool_or(a.certainty = 'taken') THEN 'taken' ELSE 'named' END, 1::bigint, min(a.actor) || CASE WHEN count(DISTINCT a.actor) > 1 THEN ', ...' ELSE '' END,
        array_agg(DISTINCT a.action), min(a.occurred_at), max(a.occurred_at), count(*)
    FROM guestcomms_internal.audited_guests(v_tenant, list_affected_guests.since, v_until, list_affected_guests.role) AS a
    WHERE a.guest_id IS NOT NULL AND (list_affected_guests.after IS NULL OR a.guest_id > list_affected_guests.after)
    GROUP BY a.guest_id
    ORDER BY a.guest_id
    LIMIT list_affected_guests.max_rows;
END $$;
COMMENT ON FUNCTION guestcomms.list_affected_guests(timestamptz, timestamptz, text, integer, uuid) IS
$$Whose data a role may have seen or taken within a time, by the audit trail, with how sure that is: taken (read_export() gave out a copy), named (an act was about the guest), could see all (an act shows that the role had the tenant open), possible (a member, a former one or an operator, of whom the trail says nothing). role is a login or the role it acted as; without it all. Rows without guest_id stand for all guests of the tenant, whose number is guest_count; they come first, and on the first page only. For the next page, after is the last row's guest_id. What is not in the trail it cannot show: applications' reads and searches, what operators SELECT or COPY from tables, what the server's files or backups gave away. Those who could are listed as possible.
Example: SELECT guest_id, certainty, guest_count, actor, actions FROM guestcomms.list_affected_guests(since => now() - interval '7 days', role => 'app_login');
See also: get_breach_deadline, verify_audit_trail, records_of_processing$$;
