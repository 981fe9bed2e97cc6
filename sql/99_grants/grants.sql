-- Who may call what: one list. Everything starts closed; what is not listed here is for the owner roles alone.
DO $grants$
DECLARE
    v_function record;
    v_grant record;
    v_role text;
    v_count integer;
BEGIN
    -- Functions belong to guestcomms_owner, which forced row security binds, but for those that must see all tenants.
    FOR v_function IN
        SELECT p.oid::regprocedure AS signature, p.proname::text AS name
        FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'guestcomms'
        JOIN pg_catalog.pg_proc AS p ON p.oid = d.objid
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
    LOOP
        -- The owner first: what pg_dump takes for the extension's own privileges is noted when they are granted.
        EXECUTE format('ALTER ROUTINE %s OWNER TO %I', v_function.signature, CASE
            WHEN v_function.name IN ('read_server_path', 'read_backend_start') THEN current_user::text
            WHEN v_function.name IN (
                -- verify the tenant before there is one
                'current_tenant', 'use_tenant', 'issue_token', 'use_token', 'rotate_token_key', 'token_audience',
                'may_use_tenant', 'add_tenant', 'rotate_context_key',
                -- store-level rows, which no tenant's policy shows
                'setting', 'set_setting', 'record_audit',
                -- read or write all tenants in one go
                'seal_audit_trail', 'export_audit_heads', 'verify_audit_trail', 'forget_other_cluster', 'add_consumer', 'remove_consumer',
                'read_changes', 'read_message_changes', 'start_consumer', 'list_lag', 'trim_change_log', 'log_message_changes', 'log_event_changes', 'log_row_changes',
                'register_message_keys', 'register_event_keys', 'count_default_rows', 'newest_default_row',
                -- keep threads in step with messages of all tenants, and read of the archive what is of one of them
                'follow_new_messages', 'follow_removed_messages', 'follow_changed_messages', 'change_threads', 'lock_threads', 'find_sleeping_threads', 'clear_up_threads', 'refresh_thread_states',
                'compute_thread_state', 'archived_places', 'archived_page', 'rebuild_thread_states',
                -- use operators that lose their index under a policy; explicit tenant predicates
                'search_messages', 'run_search', 'collect_candidates', 'collect_stage', 'find_candidates', 'narrow_range', 'next_window', 'feedback_units',
                'plan_search', 'query_conditions', 'tenant_configurations', 'search_clauses', 'scored_units', 'find_named', 'filter_condition', 'settings_of',
                'suggest_terms', 'complete_term', 'complete_name', 'suggest_corrections', 'correct_query', 'find_corrections', 'find_similar_words', 'correct_word', 'is_known_word', 'list_corrections',
                'count_matches', 'search_facets', 'count_stage', 'explain_search', 'explain', 'score_parts',
                -- follow the messages of all tenants
                'refresh_term_statistics', 'start_counting', 'count_messages', 'count_changes', 'remove_unused_terms', 'evict_terms',
                'plan_saved_search', 'plan_stale_searches', 'search_fingerprint', 'word_anchors', 'read_messages', 'message_anchors', 'filter_matches', 'raise_alerts',
                'match_saved_searches', 'trim_alerts', 'trim_query_log',
                -- the warehouse follows all tenants; what is read of it for a tenant has explicit predicates
                'find_changed_messages', 'find_neighbours', 'compute_message_facts', 'compute_changes', 'compute_event_facts', 'find_missing_members', 'find_missing_keys',
                'load_dimensions', 'remove_erased_guests', 'refresh_message_quarter_hours', 'refresh_event_quarter_hours', 'days_of', 'refresh_message_days',
                'refresh_event_days', 'move_time_zone', 'refresh_sketch_quarter_hours', 'refresh_sketch_days', 'store_facts', 'load_messages', 'load_next_messages',
                'follow_changes', 'refresh_warehouse', 'keep_facts', 'stale_facts', 'part_with_source', 'request_load', 'list_unread', 'unread_changes', 'live_messages', 'live_events', 'visible_live_messages',
                'visible_live_events', 'tenant_timezone', 'live_rollups', 'count_guests', 'large_groups', 'response_percentiles', 'get_message_statistics',
                'get_response_times', 'get_campaign_performance', 'get_guest_engagement', 'get_live_statistics', 'get_warehouse_status', 'visible_tenants',
                'grant_all_tenants', 'revoke_all_tenants', 'tenant_min_guests', 'make_reports', 'refresh_reports',
                -- the archive: reads segments, moves rows between tables and segments, for all tenants or with explicit predicates
                'unpack_payload', 'pack_segments', 'measure_codecs', 'read_segment', 'find_segments', 'list_archived', 'find_archived', 'archived_messages',
                'segment_condition', 'open_matching_segments', 'find_archived_candidates', 'is_held', 'list_eligible', 'policy_cutoff', 'hot_size', 'log_move', 'log_removal',
                'take_details', 'message_contents', 'open_segments', 'store_segments', 'move_to_archive', 'lock_messages', 'sweep_policy', 'archive_next', 'archive_batch',
                'trial_pack', 'preview_archive', 'read_archived', 'put_back', 'rewrite_segments', 'lock_threads_in', 'restore_archived', 'restore_messages', 'undo_archive', 'check_segment',
                'note_check', 'verify_archive', 'verify_next', 'check_codec_predictions', 'train_predictor', 'train_dictionary', 'train_next_dictionary', 'train_archive',
                'has_rows',
                -- exports are written by a job for all tenants, from tables and archive
                'table_records', 'content_records', 'message_records', 'other_records', 'purposes_of', 'recipients_of', 'about_data', 'export_left_out', 'write_export', 'assemble_export', 'next_archived', 'next_hot',
                'export_context', 'written_at', 'note_written', 'export_archived', 'export_hot', 'has_unwritten', 'finish_export', 'drop_export_pieces', 'step_export', 'export_batch',
                'trim_exports', 'drop_export', 'start_export',
                -- erasures are gone on with by a job for all tenants, in tables, archive and warehouse
                'erasure_key', 'missing_erasure_keys', 'export_erasure_key', 'restore_erasure_key', 'note_suppressions', 'suppress_addresses', 'obey_suppressions', 'refuse_erased_guests',
                'count_in_place', 'tenant_stems', 'note_names', 'note_stems', 'names_erased', 'query_names_erased', 'names_in_wedding', 'wedding_names_guest', 'rename_weddings',
                'erasure_treatment', 'note_erased', 'note_treated', 'note_recipients', 'log_blanking', 'hide_personal_data', 'erase_lost_event_keys', 'erase_details', 'erase_event_keys', 'rekey_facts', 'close_request', 'note_request_step', 'lock_erased_batch', 'erase_late_details', 'erase_hot_batch',
                'drop_segment', 'erase_damaged_segment', 'erase_segment', 'erase_archived_batch', 'catch_up_statistics', 'take_off_statistics', 'is_counted', 'drop_replaced', 'export_holds_guest',
                'erase_exports', 'erase_queries', 'erase_searches', 'erase_audit_contents', 'erase_detached', 'erase_threads', 'erase_contacts', 'erase_identity',
                'guest_message_ids', 'holds_about', 'collect_erasure', 'has_untreated', 'erase_left_details', 'end_of_stage', 'step_erasure', 'step_identity', 'drop_worklist',
                'step_reports', 'verify_places', 'verify_erasure', 'note_erased_indexes', 'erasure_preview', 'start_erasure', 'lock_for_erasure', 'resume_held_erasures', 'erase_batch',
                'is_open_to_caller', 'require_replayed', 'open_gate', 'open_empty_store', 'export_erasure_ledger', 'add_ledger', 'find_ledgered', 'replay_ledgered', 'suppress_all', 'replay_next', 'replay_erasures',
                -- of all tenants
                'trim_quota_uses',
                -- contents of attachments: for jobs of all tenants, and for operators who have none open
                'register_attachment_contents', 'drop_contents', 'note_attachment_removal', 'list_attachment_removals', 'confirm_attachment_removal',
                -- retention: for all tenants or with explicit predicates
                'retention_cutoff', 'wedding_day', 'retention_counts_from', 'is_guest_kept', 'is_restricted', 'last_heard_of', 'message_retention_state', 'list_message_rows', 'list_segment_rows', 'list_guest_rows',
                'list_wedding_rows', 'list_thread_rows', 'list_record_rows', 'list_retention_rows', 'remove_event_keys', 'read_contents', 'lock_segment_threads', 'take_out_of_segments',
                'remove_messages', 'remove_behaviour', 'remove_contact', 'remove_records', 'expire_rows', 'sweep_retention', 'expire_next', 'run_retention', 'begin_sweeps',
                'retention_batch', 'next_expiry', 'preview_retention', 'retention_in_force', 'audited_guests',
                -- what is left of tenants that nobody can open
                'close_tenant', 'count_tenant_rows', 'has_tenant_rows', 'delete_tenant_rows', 'delete_tenant_batch', 'stale_reports', 'close_next', 'close_batch',
                'list_closed_tenants', 'list_closure_tables',
                -- names of files, by an index that a policy would lose
                'find_files',
                'trim_send_attempts',
                -- names much alike and expressions of addresses lose their index under a policy; explicit tenant predicates
                'find_similar_names', 'find_names_like', 'find_namesakes', 'score_guests', 'list_duplicate_evidence', 'archived_of_thread',
                -- of all tenants
                'trim_guest_history',
                'write_prefixes', 'refresh_prefixes', 'refresh_all_prefixes', 'rebuild_search', 'rebuild_search_batch', 'detect_languages'
            ) THEN 'guestcomms_engine' ELSE 'guestcomms_owner' END);
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', v_function.signature);
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO guestcomms_owner, guestcomms_engine', v_function.signature);
    END LOOP;

    FOR v_grant IN
        SELECT g.role_names, unnest(g.function_names) AS function_name
        FROM (VALUES
            ('{guestcomms_app,guestcomms_analyst,guestcomms_privacy,guestcomms_operator}'::text[],
             '{current_tenant,use_tenant,use_token,list_settings,help,store_capabilities,uuid_v7,uuid_v7_time}'::text[]),
            ('{guestcomms_app,guestcomms_operator}',
             '{add_guest,resolve_guest,open_thread,record_message,record_messages,edit_message,record_event,record_events,run_import,search_messages,
               count_matches,search_facets,explain_search,list_synonyms,suggest_terms,suggest_corrections,correct_query,
               save_search,list_saved_searches,remove_saved_search,list_alerts,acknowledge_alert,record_search,record_search_click,
               get_search_quality,list_zero_result_queries,read_archived,restore_messages}'),
            ('{guestcomms_app,guestcomms_privacy,guestcomms_operator}', '{list_attachment_removals,confirm_attachment_removal,record_consent,list_consents,check_contact_allowed,list_opt_out_words}'),
            ('{guestcomms_app,guestcomms_operator}', '{add_attachment,list_attachments,remove_attachment,set_template,retire_template,list_templates,render_template,
               register_annotator,list_annotators,annotate_message,record_annotations,list_annotations}'),
            ('{guestcomms_operator}', '{set_opt_out_words}'),
            ('{guestcomms_app,guestcomms_operator}', '{claim_outbound,confirm_sent,fail_sent,cancel_message,reschedule_message,retry_message,
               list_queued_messages,list_dead_letters,list_send_attempts,delete_message,list_message_versions}'),
            ('{guestcomms_operator}', '{trim_send_attempts}'),
            ('{guestcomms_app,guestcomms_operator}', '{list_threads,get_thread,get_inbox_counts,mark_read,mark_unread,set_thread_status,assign_thread,snooze_thread}'),
            ('{guestcomms_operator}', '{rebuild_thread_states}'),
            ('{guestcomms_app,guestcomms_operator}', '{get_guest,update_guest,search_guests,find_duplicate_guests,dismiss_duplicate,merge_guests,undo_merge,list_merges,import_guests,
               add_guest_address,set_primary_address,verify_guest_address,remove_guest_address,list_guest_addresses,
               add_wedding,update_wedding,list_weddings,add_guest_to_wedding,set_rsvp,remove_guest_from_wedding,list_wedding_guests}'),
            ('{guestcomms_privacy}', '{resolve_guest,get_guest,search_guests,list_guest_addresses,list_merges}'),
            ('{guestcomms_operator}', '{trim_guest_history}'),
            ('{guestcomms_operator}', '{add_archive_policy,remove_archive_policy,list_archive_policies,preview_archive,run_archive,run_archive_batches,archive_next,train_next_dictionary,list_archive_runs,
               undo_archive,train_archive_dictionary,check_codec_predictions,train_codec_predictor,verify_archive,archive_batch,train_archive,verify_next,release_empty_months,export_batch,trim_exports,
               message_word_count_v1,place_hold,release_hold,list_holds}'),
            ('{guestcomms_privacy,guestcomms_operator}', '{open_request,record_identity_check,extend_request,refuse_request,complete_request,withdraw_request,list_requests,list_request_steps,
               export_guest,anonymized_copy,get_export_progress,read_export,remove_export,set_export_key,list_export_keys,import_export,
               detect_personal_data,anonymize_text,find_personal_data,pseudonymize,fake_name,fake_address,shift_date}'),
            ('{guestcomms_privacy,guestcomms_operator}', '{preview_erasure,erase_guest,get_erasure_progress,list_erasure_receipt,list_erasure_recipients,export_erasure_ledger}'),
            ('{guestcomms_operator}', '{replay_erasures,export_erasure_key,restore_erasure_key,list_erased_indexes,erase_batch,remake_erased_index}'),
            ('{guestcomms_privacy,guestcomms_operator}', '{add_retention_policy,remove_retention_policy,list_retention_policies,preview_retention,list_retention_runs,
               records_of_processing,list_affected_guests,get_breach_deadline}'),
            ('{guestcomms_operator}', '{run_retention,retention_batch,export_tenant,close_tenant,close_batch,list_closed_tenants,list_closure_tables}'),
            ('{guestcomms_analyst,guestcomms_privacy,guestcomms_operator}', '{generalize,generalize_address,k_anonymity}'),
            ('{guestcomms_privacy}', '{place_hold,release_hold,list_holds,read_archived,verify_archive}'),
            ('{guestcomms_privacy}', '{search_messages,count_matches,search_facets,explain_search,suggest_terms,suggest_corrections,correct_query,verify_audit_trail,export_audit_heads}'),
            ('{guestcomms_app,guestcomms_analyst,guestcomms_operator}', '{get_message_statistics,get_response_times,get_campaign_performance,get_guest_engagement,get_live_statistics,
               get_warehouse_status,visible_tenants}'),
            -- of policies and views, which ask with the reader's rights
            ('{guestcomms_analyst,guestcomms_operator}', '{sees_all_tenants,tenant_or_null,acting_role,is_operator,is_open_to_caller,visible_live_messages,visible_live_events,metric_definitions}'),
            ('{guestcomms_analyst}', '{get_search_quality}'),
            ('{guestcomms_issuer}', '{issue_token,help}'),
            ('{guestcomms_operator}',
             '{create_store,upgrade_store,drop_store,ensure_partitions,set_setting,add_tenant,add_member,remove_member,issue_token,
               rotate_token_key,rotate_context_key,rotate_pseudonym_key,refresh_warehouse,refresh_reports,grant_all_tenants,revoke_all_tenants,read_changes,add_consumer,remove_consumer,list_lag,trim_change_log,set_synonyms,refresh_term_statistics,match_saved_searches,trim_alerts,trim_query_log,rebuild_search,rebuild_search_batch,detect_languages,seal_audit_trail,verify_audit_trail,
               export_audit_heads,list_jobs,job_history,run_job,run_due_jobs,request_job,pause_job,
               job_definitions,require_job,may_job_run,list_due_jobs,work_job,start_job,finish_job,clean_search_index,analyze_tables,
               make_partitions_ahead,rescue_default_rows,trim_job_runs,trim_quota_uses,message_search_v1,search_configuration_v1,unspaced_script_v1,character_bigrams_v1,
               stems_v1,folded_stems_v1,quote_lexeme}')
        ) AS g (role_names, function_names)
    LOOP
        v_count := 0;
        FOR v_function IN
            SELECT p.oid::regprocedure AS signature
            FROM pg_catalog.pg_proc AS p
            JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace AND n.nspname IN ('guestcomms', 'guestcomms_internal')
            WHERE p.proname = v_grant.function_name
        LOOP
            FOREACH v_role IN ARRAY v_grant.role_names LOOP
                EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', v_function.signature, v_role);
            END LOOP;
            v_count := v_count + 1;
        END LOOP;
        IF v_count = 0 THEN
            RAISE EXCEPTION USING ERRCODE = 'undefined_function', MESSAGE = format('grants name an unknown function: %s', v_grant.function_name);
        END IF;
    END LOOP;
    -- The search vector is computed with the rights of whoever inserts, and operators load rows by COPY.
    GRANT USAGE ON SCHEMA guestcomms_internal TO guestcomms_operator;
END $grants$;
