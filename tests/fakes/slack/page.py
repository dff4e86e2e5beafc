"""A channel of the peer as a page that looks like Slack, so that people can see what the bot's messages look like.

Knows blocks and how Slack draws them; takes the state that the peer tells, and the uploads' bytes.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

STYLE = """
body { margin: 0; font: 15px/1.46 Lato, "Helvetica Neue", "Liberation Sans", Arial, sans-serif; color: #1d1c1d; }
header { border-bottom: 1px solid #ddd; padding: 12px 20px; font-weight: 900; font-size: 18px; }
.message { display: flex; gap: 10px; padding: 8px 20px; }
.face { width: 36px; height: 36px; border-radius: 6px; color: white; font-weight: 700; line-height: 36px;
  text-align: center; flex: none; background: #4a154b; }
.person { background: #2e7d6b; }
.name { font-weight: 900; }
.app { background: #ddd; border-radius: 2px; font-size: 10px; padding: 1px 3px; color: #555; }
.time, .only { color: #616061; font-size: 12px; }
.body { min-width: 0; max-width: 620px; }
h3 { font-size: 18px; margin: 6px 0; overflow-wrap: anywhere; }
p { margin: 4px 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.context { color: #616061; font-size: 12px; display: flex; flex-wrap: wrap; gap: 2px 10px; margin: 4px 0; }
.images img { display: block; width: 256px; margin: 6px 0; border-radius: 6px; }
pre { background: #f8f8f8; border: 1px solid #ddd; border-radius: 4px; padding: 8px; font-size: 12px; margin: 4px 0;
  overflow: hidden; }
button { font: 700 13px/1 inherit; background: white; border: 1px solid #bbb; border-radius: 4px; padding: 7px 11px;
  margin: 4px 4px 4px 0; font-family: inherit; }
button.danger { color: #e01e5a; border-color: #e01e5a; }
hr { border: 0; border-top: 1px solid #ddd; }
"""

Message = Mapping[str, Any]


def page(channel: str, messages: Sequence[Message], files: Mapping[str, bytes], names: Mapping[str, str]) -> str:
    """The whole page. `messages` as in the peer's state; one with `only` is for that person's eyes."""
    drawn = "".join(_message(message, files, names) for message in messages)
    head = f'<!doctype html><meta charset="utf-8"><title>{html.escape(channel)}</title><style>{STYLE}</style>'
    return f"{head}<header># {html.escape(channel)}</header>{drawn}"


def _message(message: Message, files: Mapping[str, bytes], names: Mapping[str, str]) -> str:
    name = names.get(str(message.get("user")), "dreambot")
    ours = name == "dreambot"
    only = '<div class="only">Only visible to you</div>' if message.get("only") else ""
    blocks = message.get("blocks") or []
    said = "".join(_drawn(blocks, files)) if blocks else f"<p>{_markup(message['text'])}</p>"
    face = f'<div class="face {"" if ours else "person"}">{name[0].upper()}</div>'
    tag = ' <span class="app">APP</span>' if ours else ""
    who = f'<span class="name">{html.escape(name)}</span>{tag} <span class="time">4:05 PM</span>'
    return f'<div class="message">{face}<div class="body">{only}{who}{said}</div></div>'


def _drawn(blocks: Sequence[Message], files: Mapping[str, bytes]) -> list[str]:
    made, images = [], ""
    for block in blocks:
        if block["type"] == "image":
            content = base64.b64encode(files[block["slack_file"]["id"]]).decode()
            images += f'<img src="data:image/png;base64,{content}" alt="{html.escape(block["alt_text"])}">'
            continue
        if images:
            made.append(f'<div class="images">{images}</div>')
            images = ""
        made.append(_block(block))
    return [*made, f'<div class="images">{images}</div>' if images else ""]


def _block(block: Message) -> str:
    match block["type"]:
        case "header":
            return f"<h3>{_text(block['text'])}</h3>"
        case "section":
            return f"<p>{_text(block['text'])}</p>"
        case "context":
            return (
                '<div class="context">' + "".join(f"<span>{_text(one)}</span>" for one in block["elements"]) + "</div>"
            )
        case "divider":
            return "<hr>"
        case "actions":
            return "".join(
                f'<button class="{b.get("style", "")}">{_text(b["text"])}</button>' for b in block["elements"]
            )
    raise ValueError(block["type"])


def _text(text: Message) -> str:
    return _markup(text["text"]) if text["type"] == "mrkdwn" else html.escape(html.unescape(text["text"]))


def _markup(text: str) -> str:
    """The little of Slack's markup that cards use: bold and code blocks."""
    safe = html.escape(html.unescape(text))
    if code := re.fullmatch(r"```(.*)```", safe, flags=re.DOTALL):
        return f"<pre>{code[1]}</pre>"
    return re.sub(r"\*([^*\n]+)\*", r"<b>\1</b>", safe)
