-- Views: materialized ones as analysts see them, live ones, the dictionary of metrics
GRANT SELECT ON ALL TABLES IN SCHEMA guestcomms_bi TO guestcomms_engine;
SELECT guestcomms_internal.make_reports();
INSERT INTO guestcomms_internal.report_refreshes (report)
SELECT r.report FROM guestcomms_internal.list_reports() AS r (report);

CREATE VIEW guestcomms_bi.mv_daily_channels WITH (security_barrier) AS
SELECT r.tenant_id, r.date_key, r.channel_key, r.direction, r.message_count, r.sent_count, r.delivered_count, r.opened_count, r.machine_opened_count,
    r.clicked_count, r.replied_count, r.failed_count, r.unsubscribed_count, r.guest_count, r.delivery_rate, r.open_rate, r.click_rate, r.reply_rate,
    r.failure_rate, r.is_suppressed, n.as_of
FROM guestcomms_internal.report_daily_channels AS r
CROSS JOIN (SELECT f.as_of FROM guestcomms_internal.report_refreshes AS f WHERE f.report = 'daily_channels') AS n
WHERE r.tenant_id = ANY ((SELECT guestcomms.visible_tenants())::uuid[]);
SELECT guestcomms_internal.document_table('guestcomms_bi.mv_daily_channels', 'Messages by day, channel and direction, and what came of them.', $$
    tenant_id                        key          tenant
    date_key                         operational  day in the tenant's time zone
    channel_key                      key          channel
    direction                        operational  inbound or outbound
    message_count                    operational  messages
    sent_count                       operational  of them, outbound ones that left
    delivered_count                  operational  delivered messages
    opened_count                     operational  messages that a person opened or read
    machine_opened_count             operational  messages opened by machines only
    clicked_count                    operational  messages that a person clicked a link in
    replied_count                    operational  messages that the other side answered
    failed_count                     operational  messages that failed or bounced
    unsubscribed_count               operational  messages by which a guest unsubscribed
    guest_count                      operational  distinct guests, without the erased
    delivery_rate                    operational  delivered of sent, 0 to 1
    open_rate                        operational  opened of delivered, 0 to 1, on channels that report opens; without machines
    click_rate                       operational  clicked of delivered, 0 to 1
    reply_rate                       operational  answered of delivered (inbound: of all), 0 to 1
    failure_rate                     operational  failed of sent, 0 to 1
    is_suppressed                    operational  whether the numbers are hidden: fewer guests than warehouse.min_guests
    as_of                            operational  the moment that the numbers are of
$$);

CREATE VIEW guestcomms_bi.mv_campaign_performance WITH (security_barrier) AS
SELECT r.tenant_id, r.campaign_id, r.first_day, r.last_day, r.message_count, r.sent_count, r.delivered_count, r.opened_count, r.machine_opened_count,
    r.clicked_count, r.replied_count, r.failed_count, r.unsubscribed_count, r.guest_count, r.delivery_rate, r.open_rate, r.click_rate,
    r.click_to_open_rate, r.reply_rate, r.failure_rate, r.unsubscribe_rate, r.is_suppressed, n.as_of
FROM guestcomms_internal.report_campaign_performance AS r
CROSS JOIN (SELECT f.as_of FROM guestcomms_internal.report_refreshes AS f WHERE f.report = 'campaign_performance') AS n
WHERE r.tenant_id = ANY ((SELECT guestcomms.visible_tenants())::uuid[]);
SELECT guestcomms_internal.document_table('guestcomms_bi.mv_campaign_performance', 'Campaigns, and what came of them.', $$
    tenant_id                        key          tenant
    campaign_id                      key          campaign
    first_day                        operational  first day of its messages
    last_day                         operational  last day of messages
    message_count                    operational  messages
    sent_count                       operational  of them, outbound ones that left
    delivered_count                  operational  delivered messages
    opened_count                     operational  messages that a person opened or read
    machine_opened_count             operational  messages opened by machines only
    clicked_count                    operational  messages that a person clicked a link in
    replied_count                    operational  messages that the other side answered
    failed_count                     operational  messages that failed or bounced
    unsubscribed_count               operational  messages by which a guest unsubscribed
    guest_count                      operational  distinct guests, without the erased
    delivery_rate                    operational  delivered of sent, 0 to 1
    open_rate                        operational  opened of delivered, 0 to 1, on channels that report opens; without machines
    click_rate                       operational  clicked of delivered, 0 to 1
    click_to_open_rate               operational  clicked of opened
    reply_rate                       operational  answered of delivered (inbound: of all), 0 to 1
    failure_rate                     operational  failed of sent, 0 to 1
    unsubscribe_rate                 operational  unsubscribed of delivered, 0 to 1
    is_suppressed                    operational  whether the numbers are hidden: fewer guests than warehouse.min_guests
    as_of                            operational  the moment that the numbers are of
$$);

CREATE VIEW guestcomms_bi.mv_guest_engagement WITH (security_barrier) AS
SELECT r.tenant_id, r.guest_id, r.segment, r.locale, r.rsvp, r.outbound_count, r.delivered_count, r.opened_count, r.clicked_count, r.replied_count,
    r.unsubscribed_count, r.inbound_count, r.open_rate, r.reply_rate, r.mean_response_seconds, r.first_message_at, r.last_outbound_at,
    r.last_inbound_at, r.last_engaged_at, n.as_of
FROM guestcomms_internal.report_guest_engagement AS r
CROSS JOIN (SELECT f.as_of FROM guestcomms_internal.report_refreshes AS f WHERE f.report = 'guest_engagement') AS n
WHERE r.tenant_id = ANY ((SELECT guestcomms.visible_tenants())::uuid[]);
SELECT guestcomms_internal.document_table('guestcomms_bi.mv_guest_engagement', 'Guests, and how they respond.', $$
    tenant_id                        key          tenant
    guest_id                         key          guest
    segment                          behaviour    group that the guest belongs to
    locale                           contact      ISO 639-1 language
    rsvp                             behaviour    latest answer to an invitation
    outbound_count                   operational  outbound messages
    delivered_count                  operational  delivered messages
    opened_count                     behaviour    messages that a person opened or read
    clicked_count                    behaviour    messages that a person clicked a link in
    replied_count                    behaviour    messages that the other side answered
    unsubscribed_count               behaviour    messages by which a guest unsubscribed
    inbound_count                    operational  inbound messages
    open_rate                        behaviour    opened of delivered, 0 to 1, on channels that report opens; without machines
    reply_rate                       behaviour    answered of delivered (inbound: of all), 0 to 1
    mean_response_seconds            behaviour    mean seconds until the guest's answers
    first_message_at                 behaviour    first message
    last_outbound_at                 behaviour    last outbound message
    last_inbound_at                  behaviour    last inbound message
    last_engaged_at                  behaviour    when the guest last wrote, opened or clicked
    as_of                            operational  the moment that the numbers are of
$$);

CREATE VIEW guestcomms_bi.mv_response_times WITH (security_barrier) AS
SELECT r.tenant_id, r.date_key, r.channel_key, r.answered_by, r.response_count, r.mean_seconds, r.median_seconds, r.p90_seconds, r.is_suppressed,
    n.as_of
FROM guestcomms_internal.report_response_times AS r
CROSS JOIN (SELECT f.as_of FROM guestcomms_internal.report_refreshes AS f WHERE f.report = 'response_times') AS n
WHERE r.tenant_id = ANY ((SELECT guestcomms.visible_tenants())::uuid[]);
SELECT guestcomms_internal.document_table('guestcomms_bi.mv_response_times', 'How long messages waited for their answer, by the day they were sent.', $$
    tenant_id                        key          tenant
    date_key                         operational  day in the tenant's time zone
    channel_key                      key          channel
    answered_by                      operational  business or guest
    response_count                   operational  answers
    mean_seconds                     operational  mean seconds until the answer
    median_seconds                   operational  median seconds until the answer
    p90_seconds                      operational  90th percentile of the seconds until the answer
    is_suppressed                    operational  whether the numbers are hidden: fewer guests than warehouse.min_guests
    as_of                            operational  the moment that the numbers are of
$$);

CREATE VIEW guestcomms_bi.mv_tenant_overview WITH (security_barrier) AS
SELECT r.tenant_id, r.message_count, r.inbound_count, r.outbound_count, r.message_count_30_days, r.guest_count, r.guest_count_30_days,
    r.delivery_rate_30_days, r.open_rate_30_days, r.failure_rate_30_days, r.median_response_seconds_30_days, r.last_day, n.as_of
FROM guestcomms_internal.report_tenant_overview AS r
CROSS JOIN (SELECT f.as_of FROM guestcomms_internal.report_refreshes AS f WHERE f.report = 'tenant_overview') AS n
WHERE r.tenant_id = ANY ((SELECT guestcomms.visible_tenants())::uuid[]);
SELECT guestcomms_internal.document_table('guestcomms_bi.mv_tenant_overview', 'Each business in one row.', $$
    tenant_id                        key          tenant
    message_count                    operational  messages
    inbound_count                    operational  inbound messages
    outbound_count                   operational  outbound messages
    message_count_30_days            operational  messages of 30 days
    guest_count                      operational  distinct guests, without the erased
    guest_count_30_days              operational  distinct guests of 30 days
    delivery_rate_30_days            operational  delivered of sent in 30 days
    open_rate_30_days                operational  opened of delivered in 30 days, on channels that report opens
    failure_rate_30_days             operational  failed of sent in 30 days
    median_response_seconds_30_days  operational  median seconds until the business's answers in 30 days
    last_day                         operational  last day of messages
    as_of                            operational  the moment that the numbers are of
$$);

CREATE VIEW guestcomms_bi.agg_message_quarter_hour_live WITH (security_invoker) AS
SELECT a.tenant_id, a.bucket_start, a.channel_key, a.direction, a.campaign_id, a.message_count, a.sent_count, a.delivered_count, a.opened_count,
    a.machine_opened_count, a.clicked_count, a.replied_count, a.failed_count, a.unsubscribed_count, a.response_count, a.response_seconds
FROM guestcomms_bi.agg_message_quarter_hour AS a
UNION ALL
SELECT l.tenant_id, l.bucket_start, l.channel_key, l.direction, l.campaign_id, l.message_count, l.sent_count, l.delivered_count, l.opened_count,
    l.machine_opened_count, l.clicked_count, l.replied_count, l.failed_count, l.unsubscribed_count, l.response_count, l.response_seconds
FROM guestcomms_internal.visible_live_messages() AS l;
SELECT guestcomms_internal.document_table('guestcomms_bi.agg_message_quarter_hour_live', 'agg_message_quarter_hour up to this moment: its rows, and rows that add what is unread or take off; to be summed, never counted.', $$
    tenant_id                key          tenant
    bucket_start             operational  start of the quarter of an hour (UTC)
    channel_key              key          channel
    direction                operational  inbound or outbound
    campaign_id              key          campaign
    message_count            operational  messages
    sent_count               operational  of them, outbound ones that left
    delivered_count          operational  delivered messages
    opened_count             operational  messages that a person opened or read
    machine_opened_count     operational  messages opened by machines only
    clicked_count            operational  messages that a person clicked a link in
    replied_count            operational  messages that the other side answered
    failed_count             operational  messages that failed or bounced
    unsubscribed_count       operational  messages by which a guest unsubscribed
    response_count           operational  answers
    response_seconds         operational  seconds until answers, together
$$);

CREATE VIEW guestcomms_bi.agg_event_quarter_hour_live WITH (security_invoker) AS
SELECT a.tenant_id, a.bucket_start, a.channel_key, a.direction, a.kind, a.is_machine, a.event_count
FROM guestcomms_bi.agg_event_quarter_hour AS a
UNION ALL
SELECT l.tenant_id, l.bucket_start, l.channel_key, l.direction, l.kind, l.is_machine, l.event_count
FROM guestcomms_internal.visible_live_events() AS l;
SELECT guestcomms_internal.document_table('guestcomms_bi.agg_event_quarter_hour_live', 'agg_event_quarter_hour up to this moment: its rows, and rows that add what is unread or take off; to be summed, never counted.', $$
    tenant_id                key          tenant
    bucket_start             operational  start of the quarter of an hour (UTC)
    channel_key              key          channel
    direction                operational  inbound or outbound
    kind                     operational  what happened
    is_machine               operational  whether a machine did it
    event_count              operational  events; negative in rows that take off
$$);

CREATE VIEW guestcomms_bi.metrics AS
SELECT d.metric, d.unit, d.formula, d.exclusions FROM guestcomms_internal.metric_definitions() AS d;
SELECT guestcomms_internal.document_table('guestcomms_bi.metrics', 'What each number means.', $$
    metric      operational  name
    unit        operational  what it is counted in
    formula     operational  how it is computed
    exclusions  operational  what it leaves out, and when it is NULL
$$);
