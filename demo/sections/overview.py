"""What is loaded."""

from __future__ import annotations

from demo.page import Page, pad

COUNTS = """
    SELECT (SELECT count(*) FROM guestcomms.guests WHERE tenant_id = %(tenant_id)s) AS guests,
        (SELECT count(*) FROM guestcomms.weddings WHERE tenant_id = %(tenant_id)s) AS weddings,
        (SELECT count(*) FROM guestcomms.messages WHERE tenant_id = %(tenant_id)s) AS messages,
        (SELECT count(*) FROM guestcomms.message_events WHERE tenant_id = %(tenant_id)s) AS events
"""
KINDS = ("weddings", "guests", "messages", "events")


def show(page: Page) -> None:
    """The title, and a line for each tenant."""
    page.line()
    page.line(f"  {page.style('guestcomms', 'bold', 'accent')}  guest communications, "
              "inside PostgreSQL")  # fmt: skip
    page.line()
    name_width = max(len(tenant["name"]) for tenant in page.tenants)
    heads = "".join(f"{kind:>10}" for kind in KINDS)
    page.line(page.style(f"  {'tenant':<{name_width}}{heads}", "dim"))
    total = dict.fromkeys(KINDS, 0)
    for tenant in page.tenants:
        counts = page.query(COUNTS, {"tenant_id": tenant["tenant_id"]})[0]
        cells = "".join(f"{counts[kind]:>10,}" for kind in KINDS)
        page.line(f"  {pad(tenant['name'], name_width)}{cells}")
        total = {kind: total[kind] + counts[kind] for kind in KINDS}
    cells = "".join(f"{total[kind]:>10,}" for kind in KINDS)
    page.line(page.style(f"  {pad('together', name_width)}{cells}", "bold"))
