-- Threads follow their messages, whoever writes, loads, moves or removes those
CREATE TRIGGER follow_insert AFTER INSERT ON guestcomms.messages REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION guestcomms_internal.follow_new_messages();
CREATE TRIGGER follow_update AFTER UPDATE ON guestcomms.messages REFERENCING OLD TABLE AS previous NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION guestcomms_internal.follow_changed_messages();
CREATE TRIGGER follow_delete AFTER DELETE ON guestcomms.messages REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT WHEN (current_user <> 'guestcomms_engine') EXECUTE FUNCTION guestcomms_internal.follow_removed_messages();
CREATE TRIGGER follow_archiving AFTER DELETE ON guestcomms.messages REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT WHEN (current_user = 'guestcomms_engine') EXECUTE FUNCTION guestcomms_internal.follow_removed_messages('engine');
