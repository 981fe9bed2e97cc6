-- The months that have partitions, kept by ensure_partitions(), so that a date can be checked without reading the catalog
CREATE TABLE guestcomms_internal.partition_ranges (
    parent_table text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    CONSTRAINT partition_ranges_pkey PRIMARY KEY (parent_table),
    CONSTRAINT partition_ranges_order_check CHECK (since < until)
);
SELECT guestcomms_internal.document_table('guestcomms_internal.partition_ranges', 'Unbroken range of time that has partitions.', $$
    parent_table  operational  partitioned table
    since         operational  start of the first partition
    until         operational  end of the last
$$);
