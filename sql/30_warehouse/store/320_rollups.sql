-- Rollups: by quarters of an hour in UTC, which add up to the days of every time zone, and by days of the tenant's. Their keys are
-- those of facts, which are checked against the dimensions.
CREATE TABLE guestcomms_bi.agg_message_quarter_hour (
    tenant_id uuid NOT NULL,
    bucket_start timestamptz NOT NULL,
    channel_key smallint NOT NULL,
    direction text NOT NULL,
    campaign_id uuid NOT NULL,
    message_count bigint NOT NULL,
    sent_count bigint NOT NULL,
    delivered_count bigint NOT NULL,
    opened_count bigint NOT NULL,
    machine_opened_count bigint NOT NULL,
    clicked_count bigint NOT NULL,
    replied_count bigint NOT NULL,
    failed_count bigint NOT NULL,
    unsubscribed_count bigint NOT NULL,
    response_count bigint NOT NULL,
    response_seconds bigint NOT NULL,
    CONSTRAINT agg_message_quarter_hour_pkey PRIMARY KEY (tenant_id, bucket_start, channel_key, direction, campaign_id)
);
SELECT guestcomms_internal.document_table('guestcomms_bi.agg_message_quarter_hour', 'Messages by the quarter of an hour they were sent in, and what came of them.', $$
    tenant_id             key          tenant
    bucket_start          operational  start of the quarter of an hour (UTC) they were sent in
    channel_key           key          channel
    direction             operational  inbound or outbound
    campaign_id           key          campaign; all zeros for none
    message_count         operational  messages sent then, and received
    sent_count            operational  of them, outbound ones that left
    delivered_count       operational  of them, delivered ones
    opened_count          operational  of them, those a person opened or read
    machine_opened_count  operational  of them, those opened by machines only
    clicked_count         operational  of them, those a person clicked a link in
    replied_count         operational  of them, those the other side answered
    failed_count          operational  of them, those that failed or bounced
    unsubscribed_count    operational  of them, those by which a guest unsubscribed
    response_count        operational  of them, those that opened a turn and were answered
    response_seconds      operational  seconds until those answers, together
$$);

CREATE TABLE guestcomms_bi.agg_message_day (
    tenant_id uuid NOT NULL,
    date_key date NOT NULL,
    channel_key smallint NOT NULL,
    direction text NOT NULL,
    campaign_id uuid NOT NULL,
    message_count bigint NOT NULL,
    sent_count bigint NOT NULL,
    delivered_count bigint NOT NULL,
    opened_count bigint NOT NULL,
    machine_opened_count bigint NOT NULL,
    clicked_count bigint NOT NULL,
    replied_count bigint NOT NULL,
    failed_count bigint NOT NULL,
    unsubscribed_count bigint NOT NULL,
    response_count bigint NOT NULL,
    response_seconds bigint NOT NULL,
    CONSTRAINT agg_message_day_pkey PRIMARY KEY (tenant_id, date_key, channel_key, direction, campaign_id)
);
SELECT guestcomms_internal.document_table('guestcomms_bi.agg_message_day', 'Messages by the day they were sent on, and what came of them.', $$
    tenant_id             key          tenant
    date_key              operational  day in the tenant's time zone
    channel_key           key          channel
    direction             operational  inbound or outbound
    campaign_id           key          campaign; all zeros for none
    message_count         operational  messages sent then, and received
    sent_count            operational  of them, outbound ones that left
    delivered_count       operational  of them, delivered ones
    opened_count          operational  of them, those a person opened or read
    machine_opened_count  operational  of them, those opened by machines only
    clicked_count         operational  of them, those a person clicked a link in
    replied_count         operational  of them, those the other side answered
    failed_count          operational  of them, those that failed or bounced
    unsubscribed_count    operational  of them, those by which a guest unsubscribed
    response_count        operational  of them, those that opened a turn and were answered
    response_seconds      operational  seconds until those answers, together
$$);

CREATE TABLE guestcomms_bi.agg_message_day_all (
    date_key date NOT NULL,
    channel_key smallint NOT NULL,
    direction text NOT NULL,
    message_count bigint NOT NULL,
    sent_count bigint NOT NULL,
    delivered_count bigint NOT NULL,
    opened_count bigint NOT NULL,
    machine_opened_count bigint NOT NULL,
    clicked_count bigint NOT NULL,
    replied_count bigint NOT NULL,
    failed_count bigint NOT NULL,
    unsubscribed_count bigint NOT NULL,
    response_count bigint NOT NULL,
    response_seconds bigint NOT NULL,
    CONSTRAINT agg_message_day_all_pkey PRIMARY KEY (date_key, channel_key, direction)
);
SELECT guestcomms_internal.document_table('guestcomms_bi.agg_message_day_all', 'Messages of all tenants by the day they were sent on, and what came of them.', $$
    date_key              operational  day in the tenant's time zone; each tenant's own
    channel_key           key          channel
    direction             operational  inbound or outbound
    message_count         operational  messages sent then, and received
    sent_count            operational  of them, outbound ones that left
    delivered_count       operational  of them, delivered ones
    opened_count          operational  of them, those a person opened or read
    machine_opened_count  operational  of them, those opened by machines only
    clicked_count         operational  of them, those a person clicked a link in
    replied_count         operational  of them, those the other side answered
    failed_count          operational  of them, those that failed or bounced
    unsubscribed_count    operational  of them, those by which a guest unsubscribed
    response_count        operational  of them, those that opened a turn and were answered
    response_seconds      operational  seconds until those answers, together
$$);

CREATE TABLE guestcomms_bi.agg_event_quarter_hour (
    tenant_id uuid NOT NULL,
    bucket_start timestamptz NOT NULL,
    channel_key smallint NOT NULL,
    direction text NOT NULL,
    kind text NOT NULL,
    is_machine boolean NOT NULL,
    event_count bigint NOT NULL,
    CONSTRAINT agg_event_quarter_hour_pkey PRIMARY KEY (tenant_id, bucket_start, channel_key, direction, kind, is_machine)
);
SELECT guestcomms_internal.document_table('guestcomms_bi.agg_event_quarter_hour', 'Events by the quarter of an hour they happened in.', $$
    tenant_id             key          tenant
    bucket_start          operational  start of the quarter of an hour (UTC) they happened in
    channel_key           key          channel
    direction             operational  the message's, inbound or outbound
    kind                  operational  what happened
    is_machine            operational  whether a machine did it
    event_count           operational  events
$$);

CREATE TABLE guestcomms_bi.agg_event_day (
    tenant_id uuid NOT NULL,
    date_key date NOT NULL,
    channel_key smallint NOT NULL,
    direction text NOT NULL,
    kind text NOT NULL,
    is_machine boolean NOT NULL,
    event_count bigint NOT NULL,
    CONSTRAINT agg_event_day_pkey PRIMARY KEY (tenant_id, date_key, channel_key, direction, kind, is_machine)
);
SELECT guestcomms_internal.document_table('guestcomms_bi.agg_event_day', 'Events by the day they happened on.', $$
    tenant_id             key          tenant
    date_key              operational  day in the tenant's time zone
    channel_key           key          channel
    direction             operational  the message's, inbound or outbound
    kind                  operational  what happened
    is_machine            operational  whether a machine did it
    event_count           operational  events
$$);

CREATE TABLE guestcomms_bi.agg_event_day_all (
    date_key date NOT NULL,
    channel_key smallint NOT NULL,
    direction text NOT NULL,
    kind text NOT NULL,
    is_machine boolean NOT NULL,
    event_count bigint NOT NULL,
    CONSTRAINT agg_event_day_all_pkey PRIMARY KEY (date_key, channel_key, direction, kind, is_machine)
);
SELECT guestcomms_internal.document_table('guestcomms_bi.agg_event_day_all', 'Events of all tenants by the day they happened on.', $$
    date_key              operational  day in the tenant's time zone; each tenant's own
    channel_key           key          channel
    direction             operational  the message's, inbound or outbound
    kind                  operational  what happened
    is_machine            operational  whether a machine did it
    event_count           operational  events
$$);

-- What is still to be loaded from the tables, where the change log alone does not tell: a new warehouse, a restored store
CREATE TABLE guestcomms_internal.warehouse_loads (
    tenant_id uuid NOT NULL,
    after_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    asked_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT warehouse_loads_pkey PRIMARY KEY (tenant_id)
);
SELECT guestcomms_internal.document_table('guestcomms_internal.warehouse_loads', 'Tenants whose messages are being compared with their facts, and how far that has come.', $$
    tenant_id  key          tenant
    after_id   key          messages up to this identifier are done
    asked_at   operational  since when
$$);

CREATE TABLE guestcomms_internal.report_refreshes (
    report text NOT NULL,
    as_of timestamptz,
    duration interval,
    CONSTRAINT report_refreshes_pkey PRIMARY KEY (report)
);
SELECT guestcomms_internal.document_table('guestcomms_internal.report_refreshes', 'Materialized views: as of when they are.', $$
    report    operational  name of the view in guestcomms_bi
    as_of     operational  the moment it was refreshed; NULL if never
    duration  operational  how long the refresh took
$$);

INSERT INTO guestcomms.consumers (consumer) VALUES ('warehouse');
