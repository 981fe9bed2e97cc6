"""One thread, as the two sides saw it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from demo.page import Page, Row, display_width, pad, wrap_wide

# A lively thread: two topics or more, moving from one channel to another, nothing very long.
PICK = """
    SELECT m.thread_id
    FROM guestcomms.messages AS m
    WHERE m.tenant_id = %(tenant_id)s
    GROUP BY m.thread_id
    HAVING count(*) BETWEEN 6 AND 9 AND max(length(m.body)) < 420 AND max(m.language) = 'en'
        AND bool_and(m.campaign_id IS NULL)
    ORDER BY count(DISTINCT m.channel) = 2 DESC, count(DISTINCT m.metadata->>'topic') DESC,
        avg(length(m.body)) DESC, min(m.sent_at)
    LIMIT 1"""
THREAD = """
    SELECT t.subject, g.display_name, w.name AS wedding, w.held_on
    FROM guestcomms.threads AS t
    JOIN guestcomms.guests AS g USING (tenant_id, guest_id)
    LEFT JOIN guestcomms.weddings AS w USING (tenant_id, wedding_id)
    WHERE t.tenant_id = %(tenant_id)s AND t.thread_id = %(thread_id)s"""
MESSAGES = """
    SELECT sent_at, direction, channel, status, body, author
    FROM guestcomms.messages
    WHERE tenant_id = %(tenant_id)s AND thread_id = %(thread_id)s
    ORDER BY sent_at"""


def show(page: Page) -> None:
    """A whole conversation in bubbles: the guest's left, the business's right."""
    tenant = page.tenant("en")
    asked = {"tenant_id": tenant["tenant_id"]}
    with page.as_tenant(tenant["tenant_id"]):
        picked = page.query(PICK, asked)
        if not picked:
            return
        asked["thread_id"] = picked[0]["thread_id"]
        thread = page.query(THREAD, asked)[0]
        messages = page.query(MESSAGES, asked)
    about = f"“{thread['subject']}” with {thread['display_name']}"
    if thread["wedding"]:
        day = thread["held_on"]
        about += f", for the wedding of {thread['wedding']} on {day.day} {day:%B %Y}"
    page.heading("A conversation", f"{about}.")
    zone = ZoneInfo(tenant["timezone"])
    for message in messages:
        is_guest = message["direction"] == "inbound"
        name = thread["display_name"] if is_guest else message["author"] or tenant["name"]
        at = message["sent_at"].astimezone(zone)
        note = f"{name} · {at:%a %d %b %H:%M} · {message['channel']}"
        if message["status"] == "read":
            note += " ✓✓"
        show_bubble(page, message, note, is_guest)


def show_bubble(page: Page, message: Row, note: str, is_left: bool) -> None:
    """One message in a frame."""
    room = page.width * 62 // 100
    lines = []
    for paragraph in message["body"].splitlines():
        if paragraph.strip():
            lines += wrap_wide(paragraph, room - 4)
    width = max(display_width(line) for line in lines)
    colour = "in" if is_left else "out"
    frame = [f"╭{'─' * (width + 2)}╮"]
    frame += [f"│ {pad(line, width)} │" for line in lines]
    frame += [f"╰{'─' * (width + 2)}╯"]
    indent = 2 if is_left else page.width - width - 4
    note_indent = 3 if is_left else max(2, page.width - display_width(note) - 1)
    page.line(" " * note_indent + page.style(note, "dim"))
    for line in frame:
        page.line(" " * indent + page.style(line, colour))
