"""Columns that follow from other columns and rows, so that no export has them and no import takes them."""

COMPUTED = (
    "word_count",
    "search",
    *("last_message_id", "last_message_at", "last_direction", "last_channel", "last_inbound_at", "last_outbound_at"),
    *("waiting_since", "unread_count", "active_at", "guest_waits_since", "shelf"),
)
