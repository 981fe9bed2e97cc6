-- Settings: one declared list with type, bounds and purpose; a value is stored only where it differs.
CREATE FUNCTION guestcomms_internal.setting_definitions()
RETURNS TABLE (name text, type text, default_value text, min_value text, max_value text, is_per_tenant boolean, description text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    VALUES
        ('alerts.keep', 'interval', '90 days', '1 day', '10 years', true,
         'how long the alerts of saved searches are kept'),
        ('alerts.max_saved_searches', 'integer', '10000', '1', '1000000', true,
         'how many searches a tenant may save'),
        ('archive.dictionary_age', 'interval', '180 days', '1 day', '10 years', true,
         'how old a tenant''s newest dictionary may be before a job makes another'),
        ('archive.late_after', 'interval', '1 day', '0', '1 year', true,
         'how long what came late for archived messages waits before a run writes it into their segments'),
        ('archive.search_segments', 'integer', '50', '0', '1000', true,
         'how many segments of the archive a search opens'),
        ('archive.segment_messages', 'integer', '20', '1', '200', true,
         'how many messages a segment of the archive holds'),
        ('archive.trial_share', 'number', '0.02', '0', '1', true,
         'the share of segments that are tried with every codec, for the predictor to learn from'),
        ('archive.undo_window', 'interval', '30 days', '0', '10 years', true,
         'how long undo_archive() takes a run back'),
        ('archive.verify_every', 'interval', '30 days', '1 hour', '10 years', false,
         'within what time every segment of the archive is checked once by a job'),
        ('change_log.max_age', 'interval', '7 days', '1 hour', '1 year', false,
         'a consumer that has not read for so long starts again from the tables, and the change log is trimmed past it'),
        ('consent.marketing_needs_consent', 'boolean', 'false', NULL, NULL, true,
         'whether marketing needs a guest''s consent before; otherwise it is refused after an objection alone'),
        ('consent.stop_ends_all_sms', 'boolean', 'true', NULL, NULL, true,
         'whether STOP by SMS is an objection to every SMS, as carriers treat it; otherwise to marketing alone, as on other channels'),
        ('context.session_lifetime', 'interval', '12 hours', '1 minute', '7 days', false,
         'how long use_tenant(..., is_session => true) holds'),
        ('guests.undo_merge_window', 'interval', '30 days', '0', '1 year', true,
         'how long undo_merge() takes a merge of guests back, and what was moved is kept for it'),
        ('partitions.ahead', 'interval', '3 months', '1 month', '2 years', false,
         'how far ahead of now partitions are made'),
        ('privacy.complaint_route', 'text', '', '1', '2000', true,
         'what a guest whose request is refused is told: the supervisory authority to complain to, and the way to court'),
        ('privacy.controller', 'text', '', '1', '2000', true,
         'what records of processing say about who is responsible: name, address, representative; without it the tenant''s name'),
        ('privacy.data_protection_officer', 'text', '', '1', '2000', true,
         'whom records of processing name as data-protection officer'),
        ('privacy.detected_messages_per_hour', 'integer', '100000', '0', '100000000', true,
         'in how many messages a role may look for personal data within an hour; 0 for none'),
        ('privacy.erase_at_once', 'integer', '500', '0', '10000', true,
         'how many messages a guest may have to be erased within the call that asks for it'),
        ('privacy.erase_batch_messages', 'integer', '500', '1', '10000', true,
         'how many messages are erased in one transaction'),
        ('privacy.erase_both_sides', 'boolean', 'true', NULL, NULL, true,
         'whether with a guest also what the business wrote to them is erased; otherwise that stays without personal data'),
        ('privacy.export_at_once', 'integer', '2000', '0', '100000', true,
         'how many messages an export may have to be written within the call that asks for it'),
        ('privacy.export_batch_messages', 'integer', '5000', '1', '50000', true,
         'how many messages are written in one transaction of a longer export, and stand in one PDF of it'),
        ('privacy.export_lifetime', 'interval', '7 days', '1 hour', '1 year', true,
         'how long the file of an export is kept'),
        ('privacy.exports_per_hour', 'integer', '20', '0', '100000', true,
         'how many exports a role may make within an hour; 0 for none'),
        ('privacy.imports_per_hour', 'integer', '20', '0', '100000', true,
         'how many exports and files of guests a role may bring in within an hour; 0 for none'),
        ('privacy.purposes', 'text', '', '1', '2000', true,
         'what exports and records of processing say about purposes; without it what consents and messages show'),
        ('privacy.recipients', 'text', '', '1', '2000', true,
         'what exports and records of processing say about who receives the data; without it the sources of messages'),
        ('privacy.reindex_limit_mb', 'integer', '64', '0', '1000000', false,
         'up to which size, in megabytes, a job makes an index anew that words of erased guests may still stand in; larger ones are for list_erased_indexes()'),
        ('privacy.retention', 'text', '', '1', '2000', true,
         'what exports say about how long data is kept; without it what retention policies say'),
        ('privacy.transfers', 'text', '', '1', '2000', true,
         'what records of processing say about transfers to third countries, and their safeguards'),
        ('query_log.is_enabled', 'boolean', 'false', NULL, NULL, true,
         'whether record_search() keeps a log of a tenant''s searches'),
        ('query_log.keep', 'interval', '400 days', '1 day', '10 years', true,
         'how long logged searches are kept, without their texts'),
        ('query_log.keep_text', 'interval', '30 days', '1 hour', '10 years', true,
         'how long the texts of logged searches are kept'),
        ('search.any_word_below', 'integer', '10', '0', '200', true,
         'messages that hold any of the words are added where fewer than so many hold all of them'),
        ('search.candidate_limit', 'integer', '1000', '100', '1000000', true,
         'how many of the newest matching messages are scored'),
        ('search.correct_words', 'boolean', 'true', NULL, NULL, true,
         'whether a search takes a word that no message holds for a mistyped one that some do'),
        ('search.count_limit', 'integer', '10000', '100', '1000000', true,
         'how many matching messages count_matches() and search_facets() count one by one'),
        ('search.detect_language', 'boolean', 'false', NULL, NULL, true,
         'whether messages recorded without a language wait for detect_languages() instead of taking the tenant''s'),
        ('search.headline_start', 'text', '«', '1', '20', true,
         'what stands before a found word in a headline'),
        ('search.headline_stop', 'text', '»', '1', '20', true,
         'what stands after a found word in a headline'),
        ('search.length_weight', 'number', '0.9', '0', '1', true,
         'BM25''s b: how much a long message must hold a word more often'),
        ('search.proximity_weight', 'number', '0.2', '0', '5', true,
         'by how much words close together raise a score'),
        ('search.recency_half_life', 'interval', '180 days', '1 day', '10 years', true,
         'the age at which a message''s recency has fallen to half'),
        ('search.recency_weight', 'number', '0.3', '0', '1', true,
         'the share of a score that age can take'),
        ('search.subject_weight', 'number', '2', '1', '10', true,
         'how often a word of the subject counts'),
        ('search.term_saturation', 'number', '1.6', '0.1', '3', true,
         'BM25''s k1: how much each further occurrence of a word adds'),
        ('sending.keep_attempts', 'interval', '30 days', '1 day', '10 years', false,
         'how long attempts at sending are kept'),
        ('sending.max_attempts', 'integer', '5', '1', '100', true,
         'after how many tries a message that could not be sent is given up'),
        ('sending.retry_after', 'interval', '1 minute', '1 second', '1 day', true,
         'how long a message that could not be sent waits to be tried again; doubled with every try'),
        ('sending.retry_at_most', 'interval', '6 hours', '1 second', '30 days', true,
         'the longest that a message waits to be tried again'),
        ('spelling.one_edit_from', 'integer', '5', '3', '30', true,
         'how many letters a word must have to be corrected by one edit: a letter more, less, another or two exchanged'),
        ('spelling.two_edits_from', 'integer', '9', '3', '30', true,
         'how many letters a word must have to be corrected by two edits'),
        ('suggest.max_terms', 'integer', '200000', '1000', '2000000', true,
         'how many words and pairs of words a tenant''s vocabulary keeps at most; 2000 and one a message are the other bound'),
        ('suggest.min_guests', 'integer', '3', '1', '20', true,
         'with how many guests a word must be used to be suggested'),
        ('token.max_lifetime', 'interval', '1 day', '1 minute', '30 days', false,
         'longest life that issue_token gives'),
        ('warehouse.live_limit', 'integer', '5000', '0', '100000', false,
         'how many unread changes of messages and events are added to what applications ask for; with more, numbers are of the last refresh'),
        ('warehouse.min_guests', 'integer', '1', '1', '100', true,
         'groups with fewer guests are hidden from statistics'),
        ('warehouse.reply_window', 'interval', '30 days', '1 hour', '1 year', false,
         'how long after a message an answer to it may come; after a change, refresh_warehouse(is_reload => true)');
END;
COMMENT ON FUNCTION guestcomms_internal.setting_definitions() IS 'The declared list of settings.';

CREATE FUNCTION guestcomms_internal.setting(name text, tenant_id uuid DEFAULT NULL) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN coalesce(
        (SELECT s.value FROM guestcomms.settings AS s WHERE s.tenant_id = setting.tenant_id AND s.name = setting.name),
        (SELECT s.value FROM guestcomms.settings AS s WHERE s.tenant_id = guestcomms_internal.store_level() AND s.name = setting.name),
        (SELECT d.default_value FROM guestcomms_internal.setting_definitions() AS d WHERE d.name = setting.name));
END $$;
COMMENT ON FUNCTION guestcomms_internal.setting(text, uuid) IS
'Value in force: the tenant''s, else the store''s, else the default.';

CREATE FUNCTION guestcomms_internal.settings_of(module text, tenant_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT jsonb_object_agg(substr(d.name, char_length(settings_of.module) + 2), coalesce(t.value, s.value, d.default_value))
        FROM guestcomms_internal.setting_definitions() AS d
        LEFT JOIN guestcomms.settings AS t ON t.tenant_id = settings_of.tenant_id AND t.name = d.name
        LEFT JOIN guestcomms.settings AS s ON s.tenant_id = guestcomms_internal.store_level() AND s.name = d.name
        WHERE starts_with(d.name, settings_of.module || '.'));
END $$;
COMMENT ON FUNCTION guestcomms_internal.settings_of(text, uuid) IS
'All values in force of the settings whose names begin with a module''s.';

CREATE FUNCTION guestcomms_internal.is_valid_setting(type text, value text, min_value text, max_value text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN CASE type
        WHEN 'integer' THEN value::integer BETWEEN coalesce(min_value::integer, value::integer) AND coalesce(max_value::integer, value::integer)
        WHEN 'number' THEN value::numeric BETWEEN min_value::numeric AND max_value::numeric
        WHEN 'interval' THEN value::interval BETWEEN coalesce(min_value::interval, value::interval) AND coalesce(max_value::interval, value::interval)
        WHEN 'boolean' THEN value::boolean IS NOT NULL
        ELSE char_length(value) BETWEEN min_value::integer AND max_value::integer
    END;
EXCEPTION
    WHEN invalid_text_representation OR invalid_datetime_format OR numeric_value_out_of_range
        OR datetime_field_overflow OR interval_field_overflow THEN
        RETURN false;
END $$;
COMMENT ON FUNCTION guestcomms_internal.is_valid_setting(text, text, text, text) IS
'Whether a value is of a setting''s type and within its bounds.';

CREATE FUNCTION guestcomms.list_settings()
RETURNS TABLE (name text, value text, default_value text, is_per_tenant boolean, type text, min_value text, max_value text, description text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    SELECT d.name, guestcomms_internal.setting(d.name, guestcomms_internal.tenant_or_null()),
        d.default_value, d.is_per_tenant, d.type, d.min_value, d.max_value, d.description
    FROM guestcomms_internal.setting_definitions() AS d
    ORDER BY d.name
$$;
COMMENT ON FUNCTION guestcomms.list_settings() IS
$$All settings with the value in force (for the current tenant, where one is set), default, bounds and purpose.
Example: SELECT name, value, description FROM guestcomms.list_settings();
See also: set_setting$$;

CREATE FUNCTION guestcomms.set_setting(name text, value text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
    v_setting record;
BEGIN
    SELECT * INTO v_setting FROM guestcomms_internal.setting_definitions() AS d WHERE d.name = set_setting.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = 'there is no such setting',
            HINT = 'SELECT name, description FROM guestcomms.list_settings();';
    END IF;
    IF set_setting.value IS NOT NULL
        AND NOT guestcomms_internal.is_valid_setting(v_setting.type, set_setting.value, v_setting.min_value, v_setting.max_value)
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('value of %s is not acceptable', v_setting.name),
            DETAIL = format('Type %s%s.', v_setting.type,
                coalesce(', from ' || v_setting.min_value || ' to ' || v_setting.max_value
                    || CASE v_setting.type WHEN 'text' THEN ' characters' ELSE '' END, '')),
            HINT = 'NULL sets it back to its default.';
    END IF;
    IF v_tenant IS NOT NULL AND NOT v_setting.is_per_tenant THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = format('%s is set for the whole store, not per tenant', v_setting.name),
            HINT = 'An operator sets it without a tenant context: RESET guestcomms.context; then set_setting().';
    END IF;
    v_tenant := coalesce(v_tenant, guestcomms_internal.store_level());
    IF set_setting.value IS NULL THEN
        DELETE FROM guestcomms.settings AS s WHERE s.tenant_id = v_tenant AND s.name = v_setting.name;
    ELSE
        INSERT INTO guestcomms.settings AS s (tenant_id, name, value)
        VALUES (v_tenant, v_setting.name, set_setting.value)
        ON CONFLICT ON CONSTRAINT settings_pkey DO UPDATE
        SET value = excluded.value, changed_at = now(), changed_by = session_user;
    END IF;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'set_setting', 'setting ' || v_setting.name,
        jsonb_build_object('value', set_setting.value));
END $$;
COMMENT ON FUNCTION guestcomms.set_setting(text, text) IS
$$Sets a setting: for the current tenant, or, by an operator without a tenant context, for the whole store. NULL sets it back. Types and bounds are checked.
Example: SELECT guestcomms.set_setting('search.candidate_limit', '2000');
See also: list_settings$$;
