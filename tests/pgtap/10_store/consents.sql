-- The latest word of a guest about a purpose: by time, for the channel or for all, the objection where two are of one moment.
BEGIN;
SELECT no_plan();

SELECT guestcomms.add_tenant('Rose & Quill') AS tenant \gset
SELECT guestcomms.use_tenant(:'tenant');
SELECT guestcomms.add_guest('Zoë') AS guest \gset
PREPARE say AS INSERT INTO guestcomms.consents (tenant_id, guest_id, channel, purpose, is_granted, basis, source, recorded_at)
VALUES (guestcomms.current_tenant(), $1, $2, $3, $4, 'consent', 'form', now() - $5::interval);
PREPARE objecting AS SELECT array_agg(c.channel ORDER BY c.channel) FROM unnest('{email,sms,whatsapp,chat}'::text[]) AS c (channel)
WHERE guestcomms_internal.is_objecting(guestcomms.current_tenant(), $1, c.channel, $2);

SELECT is((SELECT guestcomms_internal.latest_consent(:'tenant', :'guest', 'sms', 'marketing')), NULL, 'nothing was said');
SELECT is((SELECT guestcomms_internal.is_objecting(:'tenant', :'guest', 'sms', 'marketing')), false, 'silence is no objection');
EXECUTE say(:'guest', 'sms', 'marketing', false, '9 days');
SELECT results_eq(format('EXECUTE objecting(%L, %L)', :'guest', 'marketing'), $$ VALUES ('{sms}'::text[]) $$, 'one channel');
SELECT results_eq(format('EXECUTE objecting(%L, %L)', :'guest', 'service'), $$ VALUES (NULL::text[]) $$, 'one purpose');
EXECUTE say(:'guest', NULL, 'marketing', true, '8 days');
SELECT results_eq(format('EXECUTE objecting(%L, %L)', :'guest', 'marketing'), $$ VALUES (NULL::text[]) $$, 'a later word about all channels');
EXECUTE say(:'guest', NULL, 'marketing', false, '7 days');
EXECUTE say(:'guest', 'email', 'marketing', true, '6 days');
SELECT results_eq(format('EXECUTE objecting(%L, %L)', :'guest', 'marketing'), $$ VALUES ('{chat,sms,whatsapp}'::text[]) $$, 'all but one');
EXECUTE say(:'guest', 'email', 'marketing', false, '10 days');
SELECT results_eq(format('EXECUTE objecting(%L, %L)', :'guest', 'marketing'), $$ VALUES ('{chat,sms,whatsapp}'::text[]) $$, 'one of the past that comes late');
EXECUTE say(:'guest', 'email', 'marketing', false, '6 days');
SELECT results_eq(format('EXECUTE objecting(%L, %L)', :'guest', 'marketing'), $$ VALUES ('{chat,email,sms,whatsapp}'::text[]) $$, 'of the same moment');

SELECT finish();
ROLLBACK;
