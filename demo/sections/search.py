"""A search over everything one tenant has written and received."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from demo.page import Page, Row

SEARCH = "SELECT * FROM guestcomms.search_messages('vegetarian menu', max_rows => 5);"
NAMES = """
    SELECT guest_id, display_name FROM guestcomms.guests
    WHERE tenant_id = %(tenant_id)s AND guest_id = ANY(%(guest_ids)s)"""


def show(page: Page) -> None:
    """Words anywhere, the best hits first."""
    tenant = page.tenant("en")
    page.heading("Search", f"As {tenant['name']}: no row of another tenant is ever in reach.")
    with page.as_tenant(tenant["tenant_id"]):
        show_hits(page, tenant, page.ask(SEARCH))


def show_hits(page: Page, tenant: Row, hits: list[Row]) -> None:
    """The hits of a search with the guests' names."""
    asked = {"tenant_id": tenant["tenant_id"], "guest_ids": [hit["guest_id"] for hit in hits]}
    names = {row["guest_id"]: row["display_name"] for row in page.query(NAMES, asked)}
    zone = ZoneInfo(tenant["timezone"])
    for hit in hits:
        way = "from" if hit["direction"] == "inbound" else "to"
        at = f"{hit['sent_at'].astimezone(zone):%d %b %Y %H:%M}"
        name = page.style(names.get(hit["guest_id"], "a guest"), "bold")
        score = page.style(f"  {hit['score']:.2f}", "dim")
        page.line(f"  {page.style(at, 'dim')}  {hit['channel']:<8}  {way} {name}{score}")
        page.wrap(page.mark_hits(hit["headline"]), "      ")
    if hits and hits[0]["stage"] != "all words":
        page.line(page.style(f"  found by: {hits[0]['stage']}", "dim"))
