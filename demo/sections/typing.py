"""A query typed letter by letter, and one with slips of the finger."""

from __future__ import annotations

from demo.page import Page
from demo.sections.search import show_hits

TYPED = ("v", "veg", "vegan m")
SUGGEST = "SELECT suggestion FROM guestcomms.suggest_terms(%(typed)s, max_rows => 5)"
SEARCH = "SELECT * FROM guestcomms.search_messages('vegitarian menue', max_rows => 2);"


def show(page: Page) -> None:
    """Suggestions, and a mistyped search with what it found marked."""
    tenant = page.tenant("en")
    page.heading("While typing", "Words of this tenant's messages that several guests use; mistyped ones are found all the same.")
    with page.as_tenant(tenant["tenant_id"]):
        for typed in TYPED:
            found = ", ".join(row["suggestion"] for row in page.query(SUGGEST, {"typed": typed}))
            page.line(f"  {page.style(typed, 'bold'):<10} {found}")
        show_hits(page, tenant, page.ask(SEARCH))
