-- Shelves: what the inbox is filtered by takes few values, so all of them together are one small number, threads.shelf, and an index
-- that begins with it has any page of any filter in order: from each shelf asked for its first rows, then the best of those.
CREATE FUNCTION guestcomms_internal.list_shelves(statuses text[], channel text DEFAULT NULL, is_unread boolean DEFAULT NULL) RETURNS smallint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN ARRAY(
        SELECT s.shelf::smallint FROM generate_series(0, 59) AS s (shelf)
        WHERE s.shelf / 20 + 1 = ANY (ARRAY(SELECT array_position(ARRAY['open', 'waiting', 'closed'], a.status) FROM unnest(list_shelves.statuses) AS a (status)))
            AND (list_shelves.channel IS NULL OR s.shelf % 20 / 4 = array_position(ARRAY['email', 'sms', 'whatsapp', 'chat'], list_shelves.channel))
            AND (list_shelves.is_unread IS NULL OR s.shelf % 4 / 2 = list_shelves.is_unread::integer));
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_shelves(text[], text, boolean) IS
'The shelves that a filter is about; odd ones are of threads that were put aside. NULL for any channel, and for read and unread alike.';
