"""Renders the templates of ../fixtures/templates/ by Hugging Face transformers (Jinja2) and writes what it gives into them.

Usage: python test/oracles/templates.py   (needs `transformers` and `jinja2`)

expressions.json: small expressions and blocks, each [template, text], or [template, null] where transformers refuses it; all see
the same `messages` and `variables`.
families.json: templates of published families with conversations. A text is kept whole if it is short, else as its SHA-256. Where
the templates come from, and their licences, says the README there.
"""

import datetime
import hashlib
import json
import pathlib
import warnings

from transformers.utils import chat_template_utils
from transformers.utils.chat_template_utils import render_jinja_template

folder = pathlib.Path(__file__).parent.parent / "fixtures" / "templates"
warnings.simplefilter("ignore")


class Then(datetime.datetime):
    """The moment that the tests render at."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 4, 15, 6, 7)


chat_template_utils.datetime = Then


def render(template, messages, add_generation_prompt=False, **variables):
    try:
        rendered, _ = render_jinja_template(
            conversations=[messages],
            chat_template=template,
            add_generation_prompt=add_generation_prompt,
            bos_token="<s>",
            eos_token="</s>",
            **variables,
        )
        return rendered[0]
    except Exception:  # whatever it is: the template is refused
        return None


def kept(text):
    if text is None or len(text) <= 400:
        return text
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "start": text[:40]}


def rewrite(name, change):
    path = folder / name
    data = json.loads(path.read_text())
    change(data)
    lines = ["{"]
    for i, (key, value) in enumerate(data.items()):
        end = "," if i + 1 < len(data) else ""
        if isinstance(value, list):
            items = ",\n".join("  " + json.dumps(item) for item in value)
            lines.append(f"{json.dumps(key)}: [\n{items}\n]{end}")
        elif key == "templates":
            items = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            lines.append(f"{json.dumps(key)}: {{\n{items}\n}}{end}")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}{end}")
    path.write_text("\n".join(lines + ["}"]) + "\n")


def expressions(data):
    data["cases"] = [[t, render(t, data["messages"], **data["variables"])] for t, _ in data["cases"]]


def families(data):
    data["cases"] = []
    for i, template in enumerate(data["templates"]):
        for j, conversation in enumerate(data["conversations"]):
            prompt = (i + j) % 2 == 0
            text = render(data["templates"][template], add_generation_prompt=prompt, **conversation)
            data["cases"].append([template, j, prompt, kept(text)])


rewrite("expressions.json", expressions)
rewrite("families.json", families)
