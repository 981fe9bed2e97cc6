-- The dictionary of metrics: one list, read by people and by BI tools.
CREATE FUNCTION guestcomms_internal.metric_definitions() RETURNS TABLE (metric text, unit text, formula text, exclusions text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    VALUES
        ('message_count', 'messages', 'messages by the time they were sent or received', 'none; withdrawn messages count, deleted rows do not'),
        ('inbound_count', 'messages', 'messages from guests, by the time they were received', 'deleted rows'),
        ('outbound_count', 'messages', 'messages to guests, by the time they were sent', 'deleted rows; queued and cancelled ones count'),
        ('response_count', 'messages', 'messages that opened a turn and were answered', 'further messages of the same turn; answers later than warehouse.reply_window'),
        ('sent', 'messages', 'outbound messages that left', 'queued and cancelled ones, unless an event says they were sent'),
        ('delivered', 'messages', 'outbound messages reported delivered, or else opened, clicked in or answered, or whose status says so', 'none'),
        ('opened', 'messages', 'outbound messages that a person opened or read', 'opens flagged as machine''s (is_machine); repeats'),
        ('machine_opened', 'messages', 'outbound messages that only machines opened', 'those that a person opened, too'),
        ('clicked', 'messages', 'outbound messages in which a person clicked a link', 'clicks flagged as machine''s; repeats'),
        ('replied', 'messages', 'messages that the other side answered in their conversation, or whose answer an event reported',
            'answers later than warehouse.reply_window'),
        ('failed', 'messages', 'messages that failed or bounced', 'none; one that was delivered later counts as both'),
        ('unsubscribed', 'messages', 'messages by which a guest unsubscribed', 'repeats'),
        ('guest_count', 'guests', 'distinct guests', 'erased ones; in get_message_statistics() approximate (hll), exact in mv_*'),
        ('delivery_rate', 'share', 'delivered / sent', 'NULL where nothing was sent'),
        ('open_rate', 'share', 'opened / delivered', 'opens by machines; channels that report no opens (sms); NULL where nothing was delivered'),
        ('click_rate', 'share', 'clicked / delivered', 'clicks by machines; NULL where nothing was delivered'),
        ('click_to_open_rate', 'share', 'clicked / opened', 'opens and clicks by machines; NULL where nothing was opened'),
        ('reply_rate', 'share', 'outbound: replied / delivered; inbound: replied / message_count', 'NULL where nothing was delivered or received'),
        ('failure_rate', 'share', 'failed / sent', 'NULL where nothing was sent'),
        ('unsubscribe_rate', 'share', 'unsubscribed / delivered', 'NULL where nothing was delivered'),
        ('response_time', 'time', 'from the first message of a turn to the first answer of the other side',
            'further messages of the same turn; answers later than warehouse.reply_window'),
        ('event_count', 'events', 'events by the time they happened', 'none: repeats and machines are in it, by kind and is_machine');
END;
COMMENT ON FUNCTION guestcomms_internal.metric_definitions() IS 'What each number means, how it is computed and what it leaves out.';
