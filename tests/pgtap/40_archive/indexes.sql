-- Indexes of segments: by words and identifiers, by guest, by time; the years that are made later have them, too.
BEGIN;
SELECT no_plan();

SELECT index_is_type('guestcomms', 'archive_segments', 'archive_segments_search', 'gin');
SELECT has_index('guestcomms', 'archive_segments', 'archive_segments_guest', ARRAY['tenant_id', 'guest_id', 'last_sent_at']);
SELECT has_index('guestcomms', 'archive_segments', 'archive_segments_sent_at', ARRAY['tenant_id', 'last_sent_at']);
SELECT has_index('guestcomms', 'archive_codec_trials', 'archive_codec_trials_segment', ARRAY['tenant_id', 'segment_id']);

SELECT FROM guestcomms.ensure_partitions(now() - interval '5 years');
SELECT set_eq(
    $$SELECT DISTINCT count(i.indexrelid) FROM pg_inherits AS p JOIN pg_index AS i ON i.indrelid = p.inhrelid
        WHERE p.inhparent = 'guestcomms.archive_segments'::regclass GROUP BY p.inhrelid$$,
    ARRAY[4::bigint], 'every partition has them');
SELECT cmp_ok(count(*), '>', 6::bigint, 'there are partitions of the past to look at') FROM pg_inherits AS p
WHERE p.inhparent = 'guestcomms.archive_segments'::regclass;
SELECT is_empty(
    $$SELECT p.inhrelid::regclass, a.attname FROM pg_inherits AS p JOIN pg_attribute AS a ON a.attrelid = p.inhrelid
        WHERE p.inhparent = 'guestcomms.archive_segments'::regclass AND a.attname IN ('payload', 'search', 'message_ids') AND a.attstorage <> 'm'$$,
    'segments stay in their rows');

SELECT finish();
ROLLBACK;
