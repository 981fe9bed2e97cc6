-- Change log: what every later module follows, and how far each has come
CREATE TABLE guestcomms.change_log (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    operation text NOT NULL,
    since timestamptz,
    until timestamptz,
    ids uuid[] NOT NULL,
    CONSTRAINT change_log_pkey PRIMARY KEY (xid, seq)
);
SELECT guestcomms_internal.document_table('guestcomms.change_log', 'One row per statement, tenant and kind: which rows changed, without their content. Read by read_changes().', $$
    xid        operational  transaction that changed the rows
    seq        operational  order within it
    tenant_id  key          tenant
    kind       operational  what kind of row: message, event, guest, thread and so on; message_search where only what search indexes of it was computed anew; message_place for places in conversations that messages left, event_message for messages that deleted or changed events were of
    operation  operational  insert, update or delete
    since      operational  earliest sent_at or occurred_at among the rows, so that partitions can be left out
    until      operational  latest
    ids        key          identifiers of the rows; of what belongs to a guest or a message, the guest's or message's; of places, conversations and messages in turn
$$);

CREATE TABLE guestcomms.consumers (
    consumer text NOT NULL,
    must_rebuild boolean NOT NULL DEFAULT true,
    done pg_snapshot,
    reading pg_snapshot,
    reading_xid xid8,
    reading_seq bigint,
    read_at timestamptz,
    added_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT consumers_pkey PRIMARY KEY (consumer),
    CONSTRAINT consumers_position_check CHECK (must_rebuild OR done IS NOT NULL),
    CONSTRAINT consumers_reading_check CHECK ((reading IS NULL) = (reading_xid IS NULL) AND (reading IS NULL) = (reading_seq IS NULL))
);
SELECT guestcomms_internal.document_table('guestcomms.consumers', 'Named readers of the change log and how far each has come.', $$
    consumer      operational  name
    must_rebuild  operational  whether its next read tells it to start again from the tables
    done          operational  it has seen every change of the transactions visible here
    reading       operational  snapshot it is now reading up to, when a batch did not reach its end
    reading_xid   operational  last transaction given out of it
    reading_seq   operational  last change given out of it
    read_at       operational  when it last read
    added_at      operational  when it was added
$$);
