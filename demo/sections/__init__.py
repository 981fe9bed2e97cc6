"""The sections of the demonstration's page, in order: one module each, with `show(page)`."""

from demo.sections import archive, conversation, dashboard, filtered, overview, reports, search, typing

SECTIONS = [overview.show, search.show, typing.show, filtered.show, conversation.show, dashboard.show, reports.show, archive.show]
