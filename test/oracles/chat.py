"""Writes ../fixtures/chat.json: conversations rendered by Hugging Face transformers (Jinja2).

Usage: python test/oracles/chat.py SHARED   (the folder with models/; needs `transformers`, `jinja2` and `gguf`)
"""

import json
import pathlib
import sys

from gguf import GGUFReader
from transformers.utils.chat_template_utils import render_jinja_template

shared = pathlib.Path(sys.argv[1])
out = pathlib.Path(__file__).parent.parent / "fixtures" / "chat.json"

gguf = GGUFReader(shared / "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf")
smollm2 = gguf.fields["tokenizer.chat_template"].contents()
qwen3 = json.loads((shared / "models/tokenizers/qwen3/tokenizer_config.json").read_text())["chat_template"]

# own templates that use what real ones use
OWN = {
    "tokens": "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m['content'] | trim }}{{ eos_token }}\n{% endfor %}"
    "{%- if add_generation_prompt -%}[assistant]{%- endif %}",
    "namespace": "{%- set ns = namespace(n=0) %}{% for m in messages if m.role == 'user' %}{% set ns.n = ns.n + 1 %}{{ ns.n }}: "
    "{{ m.content.upper() }}\n{% else %}nobody{% endfor %}",
    "macro": "{% macro turn(m) %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endmacro %}"
    "{% for m in messages %}{{ turn(m) }}{% if not loop.last %},{% endif %}{% endfor %}",
    "split": "{% for m in messages %}{{ m.content.split(' ') | join('_') }}|{{ m.content[:3] }}|{{ messages | length }}\n{% endfor %}",
    "json": "{{ messages | tojson }}",
    "none": "{% if tools is none %}no tools{% endif %}{% if extra is defined %}{{ extra }}{% endif %}",
}

CONVERSATIONS = [
    [{"role": "user", "content": "Hello!"}],
    [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "What is 1 < 2 & \"why\"?  "},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nTrue. 'Because' \u00e9\U0001f600"},
        {"role": "user", "content": "Thanks\nbye"},
    ],
    [{"role": "assistant", "content": "I speak first"}],
]

cases = []
for name, template in [("smollm2", smollm2), ("qwen3", qwen3), *OWN.items()]:
    for messages in CONVERSATIONS:
        for variables in ({}, {"enable_thinking": False, "extra": "more"}):
            for prompt in (True, False):
                rendered, _ = render_jinja_template(
                    conversations=[messages],
                    chat_template=template,
                    add_generation_prompt=prompt,
                    bos_token="<s>",
                    eos_token="</s>",
                    **variables,
                )
                cases.append(
                    dict(
                        template=name if name not in OWN else template,
                        messages=messages,
                        variables=variables,
                        addGenerationPrompt=prompt,
                        text=rendered[0],
                    )
                )

out.write_text(json.dumps({"cases": cases}) + "\n")
print(out, len(cases), "cases")
