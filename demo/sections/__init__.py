"""The sections of the demonstration's page, in order: one module each, with `show(page)`."""

from demo.sections import conversation, dashboard, filtered, overview, search

SECTIONS = [overview.show, search.show, filtered.show, conversation.show, dashboard.show]
