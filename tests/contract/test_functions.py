"""What every function of the extension must have, read from the catalog of a database with a store."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.database import Database

MEMBERS = """
    SELECT p.oid, p.oid::regprocedure::text AS signature, n.nspname AS schema_name, p.proname AS name,
        l.lanname AS language, p.prosecdef AS is_definer, r.rolname AS owner, p.proconfig AS settings,
        p.provolatile AS volatility, p.proparallel AS parallel, p.prokind AS kind,
        p.prosqlbody IS NOT NULL AS is_parsed, p.prosrc AS source,
        p.prorettype = 'pg_catalog.trigger'::regtype AS is_trigger,
        coalesce(p.proacl, acldefault('f', p.proowner))::text[] AS acl, d.description
    FROM pg_depend AS e
    JOIN pg_extension AS x ON x.oid = e.refobjid AND x.extname = 'guestcomms'
    JOIN pg_proc AS p ON p.oid = e.objid
    JOIN pg_namespace AS n ON n.oid = p.pronamespace
    JOIN pg_language AS l ON l.oid = p.prolang
    JOIN pg_roles AS r ON r.oid = p.proowner
    LEFT JOIN pg_description AS d ON d.objoid = p.oid AND d.classoid = 'pg_proc'::regclass
    WHERE e.classid = 'pg_proc'::regclass AND e.refclassid = 'pg_extension'::regclass AND e.deptype = 'e'
    ORDER BY 2
"""

# Functions that may see every tenant's rows. Each states its tenant in every query, or is for operators alone.
ENGINE_FUNCTIONS = {
    "add_consumer", "add_tenant", "collect_candidates", "collect_stage", "complete_name", "complete_term",
    "correct_query", "correct_word", "count_changes", "evict_terms", "find_corrections", "find_similar_words",
    "is_known_word", "list_corrections", "refresh_all_prefixes", "refresh_prefixes", "remove_unused_terms",
    "suggest_corrections", "suggest_terms", "write_prefixes", "filter_matches", "match_saved_searches", "message_anchors",
    "plan_saved_search", "plan_stale_searches", "read_message_changes",
    "query_conditions", "raise_alerts", "read_messages", "search_fingerprint", "start_consumer",
    "tenant_configurations", "trim_alerts", "trim_query_log", "trim_quota_uses", "word_anchors",
    "count_default_rows", "count_matches", "count_messages", "count_stage", "current_tenant", "detect_languages",
    "explain", "explain_search", "export_audit_heads", "feedback_units", "filter_condition", "find_candidates",
    "find_named", "forget_other_cluster", "issue_token", "list_lag", "log_event_changes",
    "log_message_changes", "log_row_changes", "may_use_tenant", "newest_default_row", "narrow_range",
    "next_window", "plan_search",
    "read_changes", "rebuild_search", "rebuild_search_batch", "record_audit", "refresh_term_statistics",
    "register_event_keys", "register_message_keys", "remove_consumer", "rotate_context_key", "rotate_token_key",
    "run_search", "score_parts", "scored_units", "seal_audit_trail", "search_clauses", "search_facets",
    "search_messages", "set_setting", "setting", "settings_of", "start_counting", "token_audience", "trim_change_log",
    "use_tenant", "use_token", "verify_audit_trail",
    # Threads follow the messages of all tenants; the archive is read of one of them, which is named.
    "archived_page", "archived_places", "change_threads", "clear_up_threads", "compute_thread_state", "find_sleeping_threads",
    "follow_changed_messages", "follow_new_messages", "follow_removed_messages", "lock_threads", "rebuild_thread_states",
    "refresh_thread_states",
    # The warehouse follows all tenants; who asks for a tenant is told of that one.
    "compute_changes", "compute_event_facts", "compute_message_facts", "count_guests", "days_of",
    "find_changed_messages", "find_missing_keys", "find_missing_members", "find_neighbours", "follow_changes",
    "get_campaign_performance", "get_guest_engagement", "get_live_statistics", "get_message_statistics", "get_response_times",
    "get_warehouse_status", "grant_all_tenants", "keep_facts", "large_groups", "list_unread", "live_events",
    "live_messages", "live_rollups", "load_dimensions", "load_messages", "load_next_messages", "make_reports",
    "move_time_zone", "refresh_event_days", "refresh_event_quarter_hours", "refresh_message_days",
    "refresh_message_quarter_hours", "refresh_reports", "refresh_sketch_days", "refresh_sketch_quarter_hours",
    "refresh_warehouse", "remove_erased_guests", "request_load", "response_percentiles", "revoke_all_tenants",
    "store_facts", "tenant_min_guests", "tenant_timezone", "unread_changes", "visible_live_events",
    "visible_live_messages", "visible_tenants", "stale_facts", "part_with_source",
    # Erasures are gone on with by a job for all tenants; each statement names the tenant whose it is, or says that it is for all.
    "add_ledger", "catch_up_statistics", "collect_erasure", "count_in_place", "drop_replaced", "drop_segment",
    "drop_worklist", "end_of_stage", "erase_archived_batch", "erase_audit_contents", "erase_batch", "erase_contacts",
    "erase_damaged_segment", "erase_detached", "erase_details", "erase_event_keys", "erase_exports", "erase_hot_batch",
    "erase_identity", "erase_left_details", "erase_lost_event_keys",
    "hide_personal_data", "erase_queries", "erase_searches", "erase_segment", "erase_threads",
    "erasure_key", "erasure_preview", "erasure_treatment", "export_erasure_key", "export_erasure_ledger",
    "export_holds_guest", "find_ledgered", "guest_message_ids", "has_untreated", "is_counted", "holds_about",
    "lock_for_erasure", "log_blanking", "missing_erasure_keys", "names_erased", "note_erased", "note_erased_indexes",
    "note_names", "note_recipients", "note_stems", "note_suppressions", "note_treated", "obey_suppressions",
    "open_empty_store", "open_gate",
    "query_names_erased", "refuse_erased_guests", "rekey_facts", "rename_weddings", "is_open_to_caller", "replay_erasures",
    "replay_ledgered",
    "replay_next", "require_replayed", "restore_erasure_key", "resume_held_erasures", "start_erasure", "step_erasure",
    "step_identity", "step_reports", "suppress_addresses", "suppress_all", "take_off_statistics", "tenant_stems",
    "verify_erasure", "verify_places", "close_request", "note_request_step", "erase_late_details", "lock_erased_batch",
    "names_in_wedding", "wedding_names_guest",
    # A job removes what is old of all tenants.
    "trim_send_attempts",
    # Exports are written by a job for all tenants; each statement names the tenant whose it is.
    "about_data", "purposes_of", "recipients_of", "assemble_export",
    "content_records", "drop_export", "drop_export_pieces", "export_archived", "export_batch",
    "export_context", "export_hot", "export_left_out", "finish_export", "has_unwritten", "message_records", "next_archived",
    "next_hot", "note_written", "other_records", "start_export", "step_export", "table_records", "trim_exports", "write_export",
    "written_at",
    # Names and addresses are looked up by operators and expressions that lose their index under a policy; each names its tenant.
    "archived_of_thread", "find_names_like", "find_namesakes", "find_similar_names", "list_duplicate_evidence", "score_guests",
    # Removes what is too old, of all tenants.
    "trim_guest_history",
    # The archive reads and moves rows of all tenants; each statement names the tenant whose they are.
    "archive_batch", "archive_next", "archived_messages", "check_codec_predictions", "check_segment",
    "train_next_dictionary", "find_archived", "find_archived_candidates", "find_segments", "has_rows", "hot_size", "is_held",
    "list_archived", "list_eligible", "lock_messages", "lock_threads_in", "log_move", "log_removal", "measure_codecs",
    "message_contents", "move_to_archive", "note_check", "open_matching_segments", "open_segments", "pack_segments",
    "policy_cutoff", "preview_archive", "put_back", "read_archived", "read_segment", "restore_archived", "restore_messages",
    "rewrite_segments", "segment_condition", "store_segments", "sweep_policy", "take_details", "train_archive",
    "train_dictionary", "train_predictor", "trial_pack", "undo_archive", "unpack_payload", "verify_archive", "verify_next",
    # Retention follows the policies of all tenants; each statement names the tenant whose rows they are.
    "audited_guests", "begin_sweeps", "expire_next", "expire_rows", "is_guest_kept", "is_restricted", "last_heard_of",
    "list_guest_rows", "list_message_rows", "list_record_rows", "list_retention_rows", "list_segment_rows",
    "list_thread_rows", "list_wedding_rows", "lock_segment_threads", "message_retention_state", "next_expiry",
    "preview_retention", "read_contents", "remove_behaviour", "remove_contact", "remove_event_keys", "remove_messages",
    "remove_records", "retention_batch", "retention_counts_from", "retention_cutoff", "retention_in_force", "run_retention",
    "sweep_retention", "take_out_of_segments", "wedding_day",
    # Rows of a closed tenant, which nobody can open any more.
    "close_batch", "close_next", "close_tenant", "count_tenant_rows", "delete_tenant_batch", "delete_tenant_rows",
    "has_tenant_rows", "list_closed_tenants", "list_closure_tables", "stale_reports",
    # Contents of attachments: noted and listed for jobs of all tenants and operators; each statement names the tenant.
    "confirm_attachment_removal", "drop_contents", "list_attachment_removals", "note_attachment_removal",
    "register_attachment_contents",
    # Names of files: an operator that loses its index under a policy.
    "find_files",
}  # fmt: skip

TRIGGER_TABLES = {
    "log_message_changes": "guestcomms.messages",
    "log_event_changes": "guestcomms.message_events",
    "log_row_changes": "guestcomms.guests",
    "register_message_keys": "guestcomms.messages",
    "register_event_keys": "guestcomms.message_events",
    "check_import_tenant": "guestcomms.import_messages",
    "register_attachment_contents": "guestcomms.attachments",
    "obey_suppressions": "guestcomms.guest_addresses",
    "refuse_erased_guests": "guestcomms.guest_addresses",
    "open_empty_store": "guestcomms.tenants",
    "follow_new_messages": "guestcomms.messages",
    "follow_removed_messages": "guestcomms.messages",
    "follow_changed_messages": "guestcomms.messages",
}
# What an update replaced, where a trigger function asks for it.
OLD_TABLES = {"log_message_changes": "'previous'", "follow_changed_messages": "'previous'", "log_event_changes": "'previous'"}


@pytest.fixture(scope="module")
def functions(db: Database) -> list[dict[str, Any]]:
    cursor = db.connect().execute(MEMBERS)
    names = [column.name for column in cursor.description or []]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    assert len(rows) > 60
    return rows


def test_bodies_pass_their_languages_validator(db: Database, functions: list[dict[str, Any]]) -> None:
    connection = db.connect()
    for function in functions:
        if function["language"] in ("sql", "plpgsql", "plpython3u"):
            connection.execute("SET check_function_bodies = on")
            definition = connection.execute("SELECT pg_get_functiondef(%s)", [function["oid"]]).fetchone()
            assert definition is not None
            path = connection.execute("SHOW search_path").fetchone()
            for setting in function["settings"] or []:
                name, _, value = setting.partition("=")
                connection.execute("SELECT set_config(%s, %s, false)", [name, value])
            with connection.transaction(force_rollback=True):
                connection.execute(definition[0])
            assert path is not None
            connection.execute("SELECT set_config('search_path', %s, false)", [path[0]])
            connection.execute("RESET ALL")


def test_plpgsql_check_finds_nothing(db: Database, functions: list[dict[str, Any]]) -> None:
    connection = db.connect()
    found = []
    for function in functions:
        if function["language"] != "plpgsql":
            continue
        arguments: list[Any] = [function["oid"]]
        options = ""
        if function["is_trigger"]:
            arguments.append(TRIGGER_TABLES[function["name"]])
            options = f", relid => %s::regclass, newtable => 'changed', oldtable => {OLD_TABLES.get(function['name'], 'NULL')}"
        rows = connection.execute(
            "SELECT lineno, level, sqlstate, message FROM testing.plpgsql_check_function_tb"
            f"(%s::oid::regprocedure{options}, other_warnings => true, performance_warnings => false, "
            "extra_warnings => true, security_warnings => true)",
            arguments,
        ).fetchall()
        found += [(function["signature"], *row) for row in rows if not is_expected(function["name"], row)]
    assert found == []


# Dynamic statements whose texts the checker cannot follow to where they are made safe.
SAFE_DYNAMIC_STATEMENTS = {
    "count_tenant_rows": "a regclass",
    "delete_tenant_rows": "a regclass, and columns of the catalog by %I",
    "has_tenant_rows": "a regclass",
    "remove_contact": "table names by %I out of the catalog",
    "content_records": "columns of the catalog by %I, a table's part by %L",
    "table_records": "columns of the catalog by %I, the table's name by %I",
    "count_in_place": "a regclass, and a condition of the declared list",
    "remake_erased_index": "an index's name, by %I out of the catalog",
    "document_table": "a regclass, and the rest by %I and %L",
    "drop_store": "table names by %I out of the catalog",
    "find_candidates": "column names of a constant list, values as parameters",
    "find_archived_candidates": "as find_candidates",
    "has_rows": "a regclass, and the rest by %I and %L",
    "insert_records": "as leave_out_known",
    "k_anonymity": "a name out of the catalog by %I, column names by quote_ident()",
    "leave_out_known": "a table's name and its columns of the catalog by %I",
    "open_matching_segments": "conditions that segment_condition() and segment_query() build by %L",
    "release_empty_months": "a regclass",
    "move_out_of_default": "column names by %I out of the catalog",
    "run_in_cron": "statements that schedule_jobs() and unschedule_jobs() build by %L",
    "secure_store": "column names by %I out of the catalog",
    "work_job": "a command out of the declared list",
}


def is_expected(name: str, row: tuple[Any, ...]) -> bool:
    """Findings that were looked at and are no faults."""
    _, level, _, message = row
    if level == "security":
        return name in SAFE_DYNAMIC_STATEMENTS and "not sanitized" in message
    # RETURN QUERY EXECUTE fills the result without naming its columns; a LOOP without an end needs no RETURN after it.
    return (name in ("find_candidates", "find_archived_candidates", "count_shelves") and "maybe unmodified" in message) or (
        name == "resolve_guest" and "without RETURN" in message
    )


def test_search_path_is_fixed(functions: list[dict[str, Any]]) -> None:
    for function in functions:
        paths = [setting for setting in function["settings"] or [] if setting.startswith("search_path=")]
        if function["kind"] == "p":
            # A procedure that commits may carry neither; it qualifies every name and runs with the caller's rights.
            assert not paths, function["signature"]
            assert not function["is_definer"], function["signature"]
            continue
        assert paths or function["is_parsed"], function["signature"]
        if paths:
            assert re.fullmatch(r"search_path=guestcomms, pg_temp", paths[0]), (function["signature"], paths)


def test_execute_is_not_for_everybody(functions: list[dict[str, Any]]) -> None:
    for function in functions:
        assert not [entry for entry in function["acl"] if entry.startswith("=")], function["signature"]


def test_comments(functions: list[dict[str, Any]]) -> None:
    public = {function["name"] for function in functions if function["schema_name"] == "guestcomms"}
    for function in functions:
        assert function["description"], function["signature"]
        if function["schema_name"] == "guestcomms":
            parts = re.fullmatch(r"(?s).{20,}\nExample: (.+?)\nSee also: (.+)", function["description"])
            assert parts, function["signature"]
            assert function["name"] in parts[1] or function["name"] == "current_tenant", function["signature"]
            assert set(parts[2].split(", ")) <= public, function["signature"]


def test_volatility_parallel_safety_and_security_are_stated(stage_sql: str) -> None:
    statements = re.findall(r"(?s)CREATE FUNCTION .*?(?:AS \$|RETURN )", stage_sql)
    assert len(statements) > 60
    for statement in statements:
        assert re.search(r"\b(VOLATILE|STABLE|IMMUTABLE)\b", statement), statement[:200]
        assert re.search(r"\bPARALLEL (SAFE|RESTRICTED|UNSAFE)\b", statement), statement[:200]


def test_owners(functions: list[dict[str, Any]]) -> None:
    engine = {function["name"] for function in functions if function["owner"] == "guestcomms_engine"}
    assert engine == ENGINE_FUNCTIONS
    superuser = {function["name"] for function in functions if function["owner"] == "postgres"}
    assert superuser == {"read_server_path", "read_backend_start"}  # reads what only superusers may


def test_every_member_is_created_not_replaced(stage_sql: str) -> None:
    assert "CREATE OR REPLACE" not in stage_sql
    assert not re.search(r"(?i)CREATE (\w+ )+IF NOT EXISTS", stage_sql)


def test_public_functions_are_those_of_the_snapshot(functions: list[dict[str, Any]], snapshot: Any, db: Database) -> None:
    lines = db.connect().execute(
        "SELECT format('%s(%s) -> %s', p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)) "
        "FROM pg_proc AS p WHERE p.pronamespace = 'guestcomms'::regnamespace "
        'ORDER BY p.proname COLLATE "C", pg_get_function_arguments(p.oid)'
    )
    snapshot("api.txt", [line for (line,) in lines])


def test_grants_are_those_of_the_snapshot(snapshot: Any, db: Database) -> None:
    lines = db.connect().execute(
        """
        SELECT format('%s function %s', grantee.rolname, p.oid::regprocedure)
        FROM pg_proc AS p
        JOIN pg_namespace AS n ON n.oid = p.pronamespace AND n.nspname LIKE 'guestcomms%'
        CROSS JOIN aclexplode(p.proacl) AS a
        JOIN pg_roles AS grantee ON grantee.oid = a.grantee
        WHERE grantee.rolname NOT IN ('postgres', 'guestcomms_owner', 'guestcomms_engine')
        UNION ALL
        SELECT format('%s %s on %s', grantee.rolname, lower(string_agg(a.privilege_type, ',' ORDER BY a.privilege_type)),
            c.oid::regclass)
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname LIKE 'guestcomms%'
        CROSS JOIN aclexplode(c.relacl) AS a
        JOIN pg_roles AS grantee ON grantee.oid = a.grantee
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND NOT c.relispartition
            -- An owner has all there is, and that is more in PostgreSQL 17.
            AND grantee.rolname NOT IN ('postgres', 'guestcomms_owner') AND a.grantee <> c.relowner
        GROUP BY grantee.rolname, c.oid
        UNION ALL
        SELECT format('%s %s (%s) on %s', grantee.rolname, lower(a.privilege_type), string_agg(t.attname, ',' ORDER BY t.attnum),
            c.oid::regclass)
        FROM pg_class AS c
        JOIN pg_attribute AS t ON t.attrelid = c.oid AND t.attacl IS NOT NULL
        CROSS JOIN aclexplode(t.attacl) AS a
        JOIN pg_roles AS grantee ON grantee.oid = a.grantee
        WHERE c.relnamespace::regnamespace::text LIKE 'guestcomms%'
        GROUP BY grantee.rolname, a.privilege_type, c.oid
        ORDER BY 1
        """
    )
    snapshot("grants.txt", sorted(line for (line,) in lines))
