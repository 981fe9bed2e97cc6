"""A page that shows the messages in any browser, by itself: no script, no image, no request.

It begins with whose messages they are and ends with what is to be known of the data, for what could not be read is known
when all batches are written.
"""

from __future__ import annotations

from html import escape
from zoneinfo import ZoneInfo

from guestcomms.export_context import Context, Record, Records, Stage
from guestcomms.export_conversations import CHANNELS, TITLE, about_lines, author, clock, conversations, notes, told_time

# Nothing can be loaded or run, whatever a text manages to say.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
# Text on its ground has a contrast of 7 to 1 and more, by day and by night (WCAG 2.2 asks for 4.5).
STYLE = """
:root { color-scheme: light dark; --page: #fbfaf8; --text: #1d1b19; --quiet: #514c47; --line: #d9d4cc;
  --guest: #fff; --business: #e6eef5; --edge: #3a6ea5; }
@media (prefers-color-scheme: dark) { :root { --page: #161514; --text: #f0ede8; --quiet: #bdb6ac; --line: #45413c;
  --guest: #242220; --business: #1b2b3a; --edge: #7fb0e0; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 46rem; background: var(--page); color: var(--text);
  font: 1rem/1.55 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 2.5rem 0 1rem; padding-bottom: .4rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0; } p { margin: .25rem 0; }
.lead { font-size: 1.125rem; } .meta, .notes { color: var(--quiet); font-size: .875rem; }
article { margin: .75rem 12% .75rem 0; padding: .75rem 1rem; background: var(--guest); border: 1px solid var(--line);
  border-inline-start: 4px solid var(--line); border-radius: .6rem; }
article.business { margin: .75rem 0 .75rem 12%; background: var(--business); border-inline-start-color: var(--edge); }
.subject { font-weight: 600; margin-top: .5rem; }
.text { white-space: pre-wrap; unicode-bidi: plaintext; margin-top: .5rem; }
.notes { margin: .6rem 0 0; padding: 0; list-style: none; }
footer { margin-top: 3rem; } dt { font-weight: 600; margin-top: .6rem; } dd { margin: 0; }
@media (max-width: 30rem) { article { margin-right: 4%; } article.business { margin-left: 4%; } }
@media print { :root { color-scheme: light; --page: #fff; --text: #000; --quiet: #444; --line: #999; --guest: #fff;
  --business: #fff; --edge: #000; } body { max-width: none; padding: 0; font-size: 10.5pt; }
  h2, h3, dt, .meta, .subject { break-after: avoid; } .notes { break-before: avoid; } .text { orphans: 3; widows: 3; } }
"""


def html_file(stage: Stage, records: Records, context: Context) -> dict[str, bytes]:
    """`messages.html`: conversations, each batch's by itself; one that goes on in a later batch is headed as continued."""
    if stage == "open":
        text = _head(context)
    elif stage == "add":
        text = "".join(_conversations(records, context))
    else:
        text = _foot(context)
    return {"messages.html": text.encode()}


def _head(context: Context) -> str:
    zone = clock(context)
    names = " and ".join(f"<bdi>{escape(name)}</bdi>" for name in (context.business, context.guest_name) if name)
    return f"""<!DOCTYPE html>
<html lang="{escape(context.language)}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="format-detection" content="telephone=no, date=no, address=no, email=no">
<title>{TITLE}: {escape(context.business)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{TITLE}</h1>
<p class="lead">{names}</p>
<p class="meta">Made {told_time(context.made_at, zone)}. Times are those of {escape(zone.key)}. \
{"Your rights and what is not in here stand" if context.about else "What is not in here stands"} at the end.</p>
</header>
<main>
"""


def _conversations(records: Records, context: Context) -> list[str]:
    zone = clock(context)
    parts = []
    for conversation in conversations(records, context):
        parts.append(f'<section>\n<h2 dir="auto">{_text(conversation.heading)}</h2>\n')
        parts += [_message(message, context, zone) for message in conversation.messages]
        parts.append("</section>\n")
    return parts


def _message(message: Record, context: Context, zone: ZoneInfo) -> str:
    side = "guest" if message["direction"] == "inbound" else "business"
    language = f' lang="{escape(message["language"])}"' if message["language"] else ""
    subject = f'<p class="subject" dir="auto"{language}>{_text(message["subject"])}</p>\n' if message["subject"] else ""
    body = f'<div class="text" dir="auto"{language}>{_text(message["body"])}</div>\n' if message["body"] else ""
    told = "".join(f'<li dir="auto">{_text(note)}</li>\n' for note in notes(message, zone))
    return (
        f'<article class="{side}">\n<h3 dir="auto">{_text(author(message, context))}</h3>\n'
        f'<p class="meta">{CHANNELS[message["channel"]]}, <time datetime="{escape(message["sent_at"])}">'
        f"{told_time(message['sent_at'], zone)}</time></p>\n{subject}{body}"
        + (f'<ul class="notes">\n{told}</ul>\n</article>\n' if told else "</article>\n")
    )


def _foot(context: Context) -> str:
    parts = ["" if context.has_messages_before else "<p>There are no messages.</p>\n", "</main>\n<footer>\n"]
    lines = about_lines(context)
    if lines:
        parts.append("<section>\n<h2>About this data and your rights</h2>\n<dl>\n")
        parts += [f'<dt>{_text(name)}</dt>\n<dd dir="auto">{_text(value)}</dd>\n' for name, value in lines]
        parts.append("</dl>\n</section>\n")
    if context.left_out:
        parts.append("<section>\n<h2>What is not in here</h2>\n<dl>\n")
        for part in context.left_out:
            parts.append(f'<dt dir="auto">{_text(part["what"])}</dt>\n<dd dir="auto">{_text(part["why"])}</dd>\n')
        parts.append("</dl>\n</section>\n")
    parts.append(f'<p class="meta">Export {escape(context.export_id)}</p>\n</footer>\n</body>\n</html>\n')
    return "".join(parts)


def _text(text: str) -> str:
    """As text of the page; a CR as a reference, for a browser would make it LF."""
    return escape(text, quote=False).replace("\r", "&#13;")
