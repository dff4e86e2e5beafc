"""The peer's channel as people would see it: messages to one HTML page in the manner of Discord's dark client.

Knows the few marks of Discord's markdown that cards use: escapes, code, code blocks. A picture of it is taken by
`tests.benchmarks.discord_picture`.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]

STYLE = """
body{margin:0;background:#313338;color:#dbdee1;font:15px/1.35 'Noto Sans','DejaVu Sans',sans-serif;width:760px}
.m{display:grid;grid-template-columns:44px 1fr;gap:0 14px;padding:10px 16px}
.a{width:40px;height:40px;border-radius:50%;background:#6f6ab3;color:#fff;display:grid;place-items:center;font-weight:600}
.u{grid-column:2;color:#949ba4;font-size:13px;margin-bottom:2px}.u b{color:#c9cdfb;font-weight:500}
.n{font-weight:600;color:#f2f3f5}.t{background:#5865f2;color:#fff;border-radius:3px;font-size:10px;padding:1px 4px}
.w{color:#949ba4;font-size:12px}.p{color:#949ba4;font-size:12px;margin-top:4px}
.g{display:flex;gap:4px;margin:6px 0;max-width:560px;flex-wrap:wrap}.g img{border-radius:8px;display:block}
.g .s{position:relative;overflow:hidden;border-radius:8px}.g .s img{filter:blur(24px)}
.g .s::after{content:'SPOILER';position:absolute;inset:0;display:grid;place-items:center;font-weight:700;font-size:12px}
.e{background:#2b2d31;border-left:4px solid;border-radius:4px;padding:10px 14px;max-width:500px;margin:6px 0}
.e h3{margin:0 0 6px;font-size:15px;color:#f2f3f5;overflow-wrap:anywhere}.e div.d{font-size:14px;overflow-wrap:anywhere}
.f{display:grid;grid-template-columns:repeat(3,1fr);gap:8px;margin-top:8px;font-size:13px}
.f b{display:block;color:#f2f3f5}
code{background:#1e1f22;border-radius:3px;padding:1px 4px;font:13px 'DejaVu Sans Mono',monospace}
pre{background:#1e1f22;border:1px solid #232428;border-radius:4px;padding:7px;margin:6px 0;overflow:hidden;
font:12px/1.35 'DejaVu Sans Mono',monospace;white-space:pre}
.b{display:flex;gap:8px;margin:6px 0 2px}.b span{background:#4e5058;color:#fff;border-radius:4px;padding:6px 14px;
font-size:13px;font-weight:500}.b .k4{background:#da373c}.b .k1{background:#5865f2}.b .k3{background:#248046}
"""


def page(messages: Sequence[Message], files: Mapping[str, bytes], asked: Mapping[str, str]) -> str:
    """One page. `files` by attachment id; `asked`: what a person did to get the message, by its id."""
    shown = "\n".join(_message(message, files, asked.get(str(message["id"]), "")) for message in messages)
    return f"<!doctype html><meta charset='utf-8'><style>{STYLE}</style>{shown}"


def _message(message: Message, files: Mapping[str, bytes], asked: str) -> str:
    who, _, what = asked.partition(" ")
    used = f"<div class=u><b>{html.escape(who)}</b> {html.escape(what)}</div>" if asked else ""
    hidden = "<div class=p>Only you can see this</div>" if message["flags"] & 64 else ""
    edited = " <span class=w>(edited)</span>" if message["edited_timestamp"] else ""
    head = f"<span class=n>dreambot</span> <span class=t>APP</span> <span class=w>today</span>{edited}"
    pictures = "".join(_picture(one, files, len(message["attachments"])) for one in message["attachments"])
    body = f"<div class=g>{pictures}</div>" if pictures else ""
    body += "".join(_embed(one) for one in message["embeds"]) + "".join(_row(row) for row in message["components"])
    return f"<div class=m>{used}<div class=a>d</div><div>{head}{body}{hidden}</div></div>"


def _picture(one: Mapping[str, Any], files: Mapping[str, bytes], number: int) -> str:
    data = base64.b64encode(files.get(str(one["id"]), b"")).decode()
    side = 256 if number == 1 else 192
    covered = " class=s" if str(one["filename"]).startswith("SPOILER_") else ""
    return f"<div{covered}><img width={side} height={side} src='data:image/png;base64,{data}'></div>"


def _embed(one: Mapping[str, Any]) -> str:
    colour = f"#{one.get('color', 0x1E1F22):06x}"
    fields = "".join(
        f"<div><b>{marked(str(field['name']))}</b>{marked(str(field['value']))}</div>"
        for field in one.get("fields", ())
    )
    words = f"<div class=d>{marked(str(one['description']))}</div>" if one.get("description") else ""
    rest = f"<div class=f>{fields}</div>" if fields else ""
    foot = f"<div class=w>{html.escape(str(one['footer']['text']))}</div>" if one.get("footer") else ""
    title = marked(str(one.get("title", "")))
    return f"<div class=e style='border-color:{colour}'><h3>{title}</h3>{words}{rest}{foot}</div>"


def _row(row: Mapping[str, Any]) -> str:
    shown = "".join(f"<span class=k{one['style']}>{html.escape(one['label'])}</span>" for one in row["components"])
    return f"<div class=b>{shown}</div>"


def marked(text: str) -> str:
    """Code and escapes as Discord shows them; all else as it stands."""
    parts = re.split(r"(```\n.*?\n```|(?<!\\)`[^`\n]+`)", text, flags=re.DOTALL)
    return "".join(_piece(part) for part in parts)


def _piece(part: str) -> str:
    if part.startswith("```\n") and part.endswith("\n```"):
        return f"<pre>{html.escape(part[4:-4])}</pre>"
    if len(part) > 2 and part.startswith("`") and part.endswith("`"):
        return f"<code>{html.escape(part[1:-1])}</code>"
    plain = re.sub(r"\\([^\w\s])", r"\1", part)
    return html.escape(plain).replace("\n", "<br>")
