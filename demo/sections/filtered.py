"""The same search with filters, in another tenant's language."""

from __future__ import annotations

from datetime import timedelta

from demo.page import Page
from demo.sections.search import show_hits

NEWEST = """
    SELECT max(sent_at)::date AS day FROM guestcomms.messages WHERE tenant_id = %(tenant_id)s"""
SEARCH = """
SELECT * FROM guestcomms.search_messages('Allergie Küche',
    channel => 'whatsapp', direction => 'inbound',
    since => '{since}', until => '{until}', max_rows => 4);"""


def show(page: Page) -> None:
    """What German guests wrote on WhatsApp about allergies, in ten months."""
    tenant = page.tenant("de")
    page.heading("Search with filters", f"As {tenant['name']}: words match by their German stems.")
    with page.as_tenant(tenant["tenant_id"]):
        day = page.query(NEWEST, {"tenant_id": tenant["tenant_id"]})[0]["day"]
        until = (day - timedelta(30)).replace(day=1)
        since = (until - timedelta(300)).replace(day=1)
        show_hits(page, tenant, page.ask(SEARCH.format(since=since, until=until)))
