-- Dimensions of the warehouse. Their keys are the store's own identifiers, which are durable, but for guests, whose history is kept:
-- a guest has one key for each version. Nobody's name is here; names are joined where they may be seen.
CREATE TABLE guestcomms_bi.dim_date (
    date_key date NOT NULL,
    year smallint NOT NULL,
    quarter smallint NOT NULL,
    month smallint NOT NULL,
    month_name text NOT NULL,
    month_start date NOT NULL,
    day_of_month smallint NOT NULL,
    day_of_year smallint NOT NULL,
    iso_year smallint NOT NULL,
    iso_week smallint NOT NULL,
    week_start date NOT NULL,
    day_of_week smallint NOT NULL,
    day_name text NOT NULL,
    is_weekend boolean NOT NULL,
    CONSTRAINT dim_date_pkey PRIMARY KEY (date_key)
);
INSERT INTO guestcomms_bi.dim_date
SELECT d.day, extract(year FROM d.day), extract(quarter FROM d.day), extract(month FROM d.day),
    (ARRAY['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'])
        [extract(month FROM d.day)::integer],
    date_trunc('month', d.day::timestamp), extract(day FROM d.day), extract(doy FROM d.day), extract(isoyear FROM d.day), extract(week FROM d.day),
    date_trunc('week', d.day::timestamp), extract(isodow FROM d.day),
    (ARRAY['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'])[extract(isodow FROM d.day)::integer],
    extract(isodow FROM d.day) >= 6
FROM (SELECT date '1994-12-31' + n AS day FROM generate_series(0, date '2069-12-31' - date '1994-12-31') AS n) AS d;
SELECT guestcomms_internal.document_table('guestcomms_bi.dim_date', 'Calendar days.', $$
    date_key      key          day
    year          operational  year
    quarter       operational  quarter of the year, 1 to 4
    month         operational  month of the year, 1 to 12
    month_name    operational  English name of the month
    month_start   operational  first day of the month
    day_of_month  operational  1 to 31
    day_of_year   operational  1 to 366
    iso_year      operational  year that the ISO 8601 week belongs to
    iso_week      operational  ISO 8601 week, 1 to 53
    week_start    operational  Monday of the week
    day_of_week   operational  1 for Monday to 7 for Sunday
    day_name      operational  English name of the day
    is_weekend    operational  whether it is Saturday or Sunday
$$);

CREATE TABLE guestcomms_bi.dim_time (
    time_key smallint NOT NULL,
    time_of_day time NOT NULL,
    hour smallint NOT NULL,
    minute smallint NOT NULL,
    quarter_hour time NOT NULL,
    day_part text NOT NULL,
    CONSTRAINT dim_time_pkey PRIMARY KEY (time_key)
);
INSERT INTO guestcomms_bi.dim_time
SELECT n, make_time(n / 60, n % 60, 0), n / 60, n % 60, make_time(n / 60, n % 60 / 15 * 15, 0),
    CASE WHEN n < 360 THEN 'night' WHEN n < 720 THEN 'morning' WHEN n < 1080 THEN 'afternoon' ELSE 'evening' END
FROM generate_series(0, 1439) AS n;
SELECT guestcomms_internal.document_table('guestcomms_bi.dim_time', 'Minutes of a day.', $$
    time_key      key          minutes since midnight by the clock, 0 to 1439
    time_of_day   operational  the same as a time
    hour          operational  0 to 23
    minute        operational  0 to 59
    quarter_hour  operational  start of the quarter of an hour
    day_part      operational  night (to 6), morning (to 12), afternoon (to 18), evening
$$);

CREATE TABLE guestcomms_bi.dim_channel (
    channel_key smallint NOT NULL,
    channel text NOT NULL,
    channel_name text NOT NULL,
    reports_opens boolean NOT NULL,
    CONSTRAINT dim_channel_pkey PRIMARY KEY (channel_key),
    CONSTRAINT dim_channel_channel_key UNIQUE (channel)
);
INSERT INTO guestcomms_bi.dim_channel
SELECT guestcomms_internal.channel_key(c.channel), c.channel, c.channel_name, c.reports_opens
FROM (VALUES ('email', 'E-mail', true), ('sms', 'SMS', false), ('whatsapp', 'WhatsApp', true), ('chat', 'In-app chat', true))
    AS c (channel, channel_name, reports_opens);
SELECT guestcomms_internal.document_table('guestcomms_bi.dim_channel', 'Ways that messages take.', $$
    channel_key    key          channel
    channel        operational  email, sms, whatsapp or chat
    channel_name   operational  the same for headings
    reports_opens  operational  whether it reports that a message was opened or read
$$);

CREATE TABLE guestcomms_bi.dim_tenant (
    tenant_id uuid NOT NULL,
    tenant_name text NOT NULL,
    timezone text NOT NULL,
    language text NOT NULL,
    region text NOT NULL,
    created_at timestamptz NOT NULL,
    closed_at timestamptz,
    CONSTRAINT dim_tenant_pkey PRIMARY KEY (tenant_id)
);
SELECT guestcomms_internal.document_table('guestcomms_bi.dim_tenant', 'Businesses.', $$
    tenant_id    key          tenant
    tenant_name  operational  name of the business
    timezone     operational  IANA time zone that its days are counted by
    language     operational  ISO 639-1 language
    region       operational  ISO 3166-1 country
    created_at   operational  when it was added
    closed_at    operational  when it was closed
$$);

CREATE TABLE guestcomms_bi.dim_wedding (
    tenant_id uuid NOT NULL,
    wedding_id uuid NOT NULL,
    wedding_name text NOT NULL,
    held_on date,
    place text,
    timezone text,
    CONSTRAINT dim_wedding_pkey PRIMARY KEY (tenant_id, wedding_id),
    CONSTRAINT dim_wedding_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms_bi.dim_tenant (tenant_id)
);
SELECT guestcomms_internal.document_table('guestcomms_bi.dim_wedding', 'Weddings and other events as they are; one member stands for none.', $$
    tenant_id     key          tenant
    wedding_id    key          wedding; all zeros for none
    wedding_name  contact      usually the couple's names
    held_on       operational  day it is held
    place         operational  where it is held
    timezone      operational  IANA time zone of the place
$$);

CREATE TABLE guestcomms_bi.dim_campaign (
    tenant_id uuid NOT NULL,
    campaign_id uuid NOT NULL,
    campaign_name text NOT NULL,
    channel text,
    purpose text,
    started_at timestamptz,
    ended_at timestamptz,
    CONSTRAINT dim_campaign_pkey PRIMARY KEY (tenant_id, campaign_id),
    CONSTRAINT dim_campaign_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms_bi.dim_tenant (tenant_id)
);
SELECT guestcomms_internal.document_table('guestcomms_bi.dim_campaign', 'Campaigns as they are; one member stands for none.', $$
    tenant_id      key          tenant
    campaign_id    key          campaign; all zeros for none
    campaign_name  operational  name
    channel        operational  channel, where there is only one
    purpose        operational  service or marketing
    started_at     operational  first sending
    ended_at       operational  last sending
$$);

CREATE TABLE guestcomms_bi.dim_guest (
    tenant_id uuid NOT NULL,
    guest_key bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    guest_id uuid NOT NULL,
    segment text,
    locale text,
    timezone text,
    rsvp text,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL,
    is_current boolean NOT NULL,
    is_erased boolean NOT NULL DEFAULT false,
    CONSTRAINT dim_guest_pkey PRIMARY KEY (tenant_id, guest_key),
    CONSTRAINT dim_guest_version_key UNIQUE (tenant_id, guest_id, valid_from),
    CONSTRAINT dim_guest_valid_check CHECK (valid_from < valid_to),
    CONSTRAINT dim_guest_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms_bi.dim_tenant (tenant_id)
);
SELECT guestcomms_internal.document_table('guestcomms_bi.dim_guest', 'Guests, a row for each state they were in (type 2); one member stands for all who were erased.', $$
    tenant_id   key          tenant
    guest_key   key          version of the guest
    guest_id    key          guest; all zeros for the erased
    segment     behaviour    group that the guest belongs to, where one was found
    locale      contact      ISO 639-1 language the guest prefers, where known
    timezone    contact      IANA time zone of the guest, where known
    rsvp        behaviour    latest answer to an invitation: pending, yes, no or maybe
    valid_from  operational  since when it was so; messages sent from then on have this key
    valid_to    operational  until when; infinity for the version in force
    is_current  operational  whether it is the version in force
    is_erased   proof        whether it stands for the erased
$$);
