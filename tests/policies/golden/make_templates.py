"""Golden texts of chat templates: templates of our own, rendered by transformers (jinja2 in its sandbox, with its settings).

    pip install transformers jinja2 && python make_templates.py      (made with transformers 5.24.0, jinja2 3.1.6)

"snippets" are small templates over the variables below; "chats" are whole ones over conversations, with the spans that {% generation %} marks.
"""
import json
import os
from datetime import datetime, timezone

os.environ.update(CUDA_VISIBLE_DEVICES="", TZ="UTC")
from transformers.utils import chat_template_utils  # noqa: E402

here = os.path.dirname(os.path.abspath(__file__))
NOW = 1700000000


class Then(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.fromtimestamp(NOW, timezone.utc)


chat_template_utils.datetime = Then

VARIABLES = {
    "n": 7, "x": 2.5, "zero": 0, "no": None, "yes": True, "s": "Hello World", "empty": "", "uni": "\u00c9t\u00e9 \u4f60\u597d \U0001f600 stra\u00dfe", "quotes": "it's \"so\"\n\t\\ \u0001",
    "l": [3, 1, 2], "words": ["pear", "Apple", "fig"], "d": {"b": 1, "a": [True, None, 1.5, "\u00e9<&>"], "items": "not a method"},
    "people": [{"name": "Ann", "age": 41, "tags": ["x"]}, {"name": "bob", "age": 7}, {"name": "Cy", "age": 41, "tags": []}],
    "tool": {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}}},
    "padded": "  \u3000 in \n", "lines": "one\ntwo\r\nthree", "big": 1e21, "small": 1.5e-7, "whole": {"f": 2.0, "e": 1e2, "i": 2},
    "floats": [0.1, 100.5, 123456789.25, 1e16, -0.25],
}
SNIPPETS = r"""
{{ n }} {{ x }} {{ zero }} {{ no }} {{ yes }} {{ s }} {{ uni }} {{ missing }}|
{{ l }} {{ words }} {{ d }} {{ people }} {{ quotes }} {{ [quotes] }} {{ (1,) }} {{ (1, 'a') }} {{ {} }} {{ {'k': [1]} }}
{{ whole }} {{ whole | tojson }} {{ big }} {{ small }} {{ floats }} {{ 1.0 }} {{ 1e3 }} {{ 1_000 }} {{ 100 ** 2 }} {{ 2 ** -1 }} {{ 1e22 * 10 }}
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 6 / 2 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ -n + 1 }} {{ +n }} {{ yes + 1 }}
{{ 'a' + 'b' ~ 1 ~ none ~ true }} {{ 'ab' * 3 }} {{ [1] + [2] }} {{ [0] * 2 }} {{ (1,) + (2,) }} {{ 'a' 'b' "c" }}
{{ 1 == 1.0 }} {{ 1 == true }} {{ 'a' == 1 }} {{ [1, 2] == [1, 2] }} {{ {'a': 1} == {'a': 1.0} }} {{ none == missing }} {{ missing == other }} {{ (1,) == [1] }}
{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 1 < 3 > 2 }} {{ 'a' < 'b' <= 'b' }} {{ [1, 2] < [1, 3] }} {{ 2 >= 2.0 }} {{ 'b' != 'a' }} {{ [1] < [1, 0] }}
{{ 'ell' in s }} {{ 'x' not in s }} {{ 3 in l }} {{ 'b' in d }} {{ 'zz' in missing }} {{ not 1 in l }} {{ '' in s }}
{{ 1 and 2 }} {{ 0 or 'x' }} {{ not yes }} {{ not not n }} {{ none or missing or 'end' }} {{ 1 and 0 or 3 }} {{ empty and 1 }}|
{{ 'y' if n > 3 else 'n' }} {{ 'y' if zero }}| {{ 1 if no else 2 if zero else 3 }} {{ ('a' if yes else 'b') ~ 'c' }}
{{ s[0] }} {{ s[-1] }} {{ s[1:4] }} {{ s[::-1] }} {{ s[:-6] }} {{ s[20:] }}| {{ uni[4:6] }} {{ uni[-1] }} {{ l[1:] }} {{ l[::2] }} {{ l[-1] }} {{ l[9] }}| {{ l[::-1] }} {{ l[5:1:-1] }} {{ l[-9:9] }} {{ l[2:0:-1] }}
{{ d.b }} {{ d['b'] }} {{ d.nope }}| {{ d['items'] }} {{ d.items() | list }} {{ d.keys() | list }} {{ d.values() | list }} {{ d.get('b') }} {{ d.get('q') }} {{ d.get('q', 5) }} {{ people[0].name }} {{ people.0.age }}
{{ s.upper() }} {{ s.lower() }} {{ 'hELLO wORLD'.title() }} {{ 'hELLO wORLD'.capitalize() }} {{ uni.upper() }} {{ "they're bill's".title() }} {{ 'a1b c-d'.title() }}
{{ padded.strip() }}| {{ padded.lstrip() }}| {{ padded.rstrip() }}| {{ 'xxaxx'.strip('x') }} {{ 'xyaxy'.lstrip('yx') }} {{ 'xxaxx'.rstrip('x') }} {{ '\u00e9a\u00e9'.strip('\u00e9') }}
{{ s.startswith('He') }} {{ s.endswith('ld') }} {{ s.startswith(('x', 'H')) }} {{ s.endswith('') }} {{ 'prefix'.removeprefix('pre') }} {{ 'prefix'.removesuffix('fix') }} {{ 'a'.removeprefix('b') }}
{{ s.split() }} {{ s.split('o') }} {{ s.split('o', 1) }} {{ ' a  b '.split() }} {{ ' a  b c '.split(none, 1) }} {{ ''.split() }} {{ ''.split('x') }} {{ 'a,b,c'.rsplit(',', 1) }} {{ 'a,b'.rsplit(',') }} {{ lines.splitlines() }}
{{ s.replace('o', '0') }} {{ s.replace('o', '0', 1) }} {{ s.find('World') }} {{ uni.find('\U0001f600') }} {{ s.find('zz') }} {{ s.rfind('o') }} {{ s.count('l') }} {{ '-'.join(words) }} {{ '12'.isdigit() }} {{ ''.isdigit() }} {{ 'a2'.isdigit() }}
{{ '{} and {}'.format(1, 'b') }} {{ '{1}{0}{name}'.format('x', 'y', name='z') }} {{ '{{}}'.format(1) }}
{{ l.index(1) }} {{ l.count(3) }} {{ l.copy() }} {{ d.copy() == d }}
{{ padded | trim }}| {{ 'xax' | trim('x') }} {{ s | upper }} {{ s | lower }} {{ s | length }} {{ uni | length }} {{ l | length }} {{ d | count }} {{ 'aB cD' | title }} {{ 'aB' | capitalize }} {{ 5 | string ~ 1 }}
{{ l | join }} {{ l | join(', ') }} {{ people | join('; ', attribute='name') }} {{ words | join('') | upper }} {{ 'abc' | join('.') }} {{ d | join(',') }}
{{ missing | default('q') }} {{ empty | default('q') }}| {{ empty | default('q', true) }} {{ no | d('q') }} {{ no | default('q', boolean=true) }} {{ missing | default }}|
{{ 'abc' | list }} {{ l | list }} {{ d | list }} {{ l | first }} {{ l | last }} {{ 'abc' | first }} {{ [] | first }}| {{ l | reverse | list }} {{ 'abc' | reverse }} {{ l | sort }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ l | sort(reverse=true) }} {{ people | sort(attribute='age') | map(attribute='name') | list }}
{{ [1, 2, 1, 3] | unique | list }} {{ l | min }} {{ l | max }} {{ d | dictsort }} {{ {'b': 1, 'A': 3, 'c': 2} | dictsort(by='value') }} {{ {'b': 1, 'A': 2} | dictsort(case_sensitive=true) }} {{ {'b': 1, 'A': 2} | dictsort(reverse=true) }} {{ d | items | list }}
{{ words | map('upper') | list }} {{ people | map(attribute='tags', default='-') | list }} {{ people | map(attribute='name') | join }} {{ words | map('replace', 'p', 'b') | list }}
{{ l | select('gt', 1) | list }} {{ l | reject('odd') | list }} {{ [0, 1, '', 'a'] | select | list }} {{ people | selectattr('tags') | map(attribute='name') | list }} {{ people | selectattr('age', 'eq', 41) | list | length }} {{ people | rejectattr('name', 'equalto', 'Ann') | map(attribute='name') | list }} {{ people | selectattr('tags', 'defined') | list | length }} {{ none | selectattr('x') | list }}
{{ 'full' if words | map('upper') else 'empty' }} {{ 'full' if l | select('gt', 9) else 'empty' }} {{ (l | select) is sequence }} {{ (l | select) is iterable }} {{ (l | reverse) is sequence }} {{ (l | map('abs')) == (l | map('abs')) }} {{ (d | items)[0] }}|
{% set g = l | map('string') %}{{ g | join }} {{ g | join }}| {% set g = d | items %}{{ g | list | length }}{{ g | list | length }} {% for x in l | select('odd') %}{{ x }}/{{ loop.index }}{% endfor %} {{ 3 in (l | map('abs')) }}
{{ l | map('string') | tojson }}
{{ l | map('string') | length }}
{{ (l | select) + [1] }}
{{ '3' | int }} {{ '3.9' | int }} {{ 'q' | int }} {{ 'q' | int(4) }} {{ 2.9 | int }} {{ '2.5' | float }} {{ 'q' | float }} {{ -3 | abs }} {{ x | abs }}
{{ d | tojson }} {{ d | tojson(indent=2) }} {{ quotes | tojson }} {{ uni | tojson }} {{ uni | tojson(ensure_ascii=true) }} {{ tool | tojson(indent=4) }} {{ {'b': 1, 'a': {}, 'c': []} | tojson(sort_keys=true, indent=1) }} {{ l | tojson(separators=(',', ':')) }} {{ none | tojson }} {{ (1, 2) | tojson }} {{ floats | tojson }} {{ big | tojson }}
{{ 'a\nb\n\nc' | indent }} {{ 'a\nb\n\nc' | indent(2, true) }} {{ 'a\nb\n\nc' | indent(2, blank=true) }} {{ 'a\nb' | indent('> ') }}
{{ s is string }} {{ n is string }} {{ n is number }} {{ yes is number }} {{ yes is boolean }} {{ yes is integer }} {{ n is integer }} {{ x is float }} {{ d is mapping }} {{ l is mapping }} {{ l is sequence }} {{ s is sequence }} {{ n is sequence }} {{ s is iterable }} {{ n is iterable }} {{ missing is iterable }} {{ missing is sequence }} {{ missing is mapping }} {{ range is callable }} {{ s is callable }}
{{ no is none }} {{ missing is none }} {{ no is defined }} {{ missing is defined }} {{ missing is undefined }} {{ d.q is defined }} {{ d.b is not defined }} {{ yes is true }} {{ 1 is true }} {{ zero is false }} {{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 1 is in [1] }} {{ n is sameas n }} {{ 1 is sameas true }} {{ 2 is eq 2 and 3 is gt 2 }} {{ 2 is ne 2 or 1 is le 1 }} {{ 1 is lt 2 }} {{ 2 is ge 3 }} {{ not s is string }}
{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}
{% for i in [] %}x{% else %}none{% endfor %} {% for i in l if i > 1 %}{{ loop.index }}:{{ i }}/{{ loop.length }} {% else %}no{% endfor %} {% for i in l if i > 9 %}x{% else %}no{% endfor %} {% for c in 'a\u00e9' %}{{ c }}.{% endfor %} {% for k in d %}{{ k }},{% endfor %} {% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %} {% for x in missing %}x{% endfor %}
{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %} {{ range(3) | list }} {{ range(5, 1, -2) | list }} {{ range(2, 4) | list }} {% for i in range(2) %}{% for k in range(3) %}{% if k == 1 %}{% break %}{% endif %}{{ i }}{{ k }} {% endfor %}{% endfor %}
{% set q = 1 %}{% for i in l %}{% set q = q + i %}{{ q }},{% endfor %}{{ q }} {% set ns = namespace(total=0, seen=[]) %}{% for i in l %}{% set ns.total = ns.total + i %}{% set ns.seen = ns.seen + [i] %}{% endfor %}{{ ns.total }} {{ ns.seen }} {{ ns.nope is defined }} {% set a, b = 1, [2] %}{{ a }}{{ b }} {% set (a, b) = (3, 4) %}{{ a }}{{ b }} {{ dict(a=1)['a'] }} {{ dict({'b': 2}, c=3) }}
{% set block %}x{{ n }}{% endset %}{{ block | upper }} {% set block | trim | upper %}  y {{ s }} {% endset %}{{ block }}| {% filter upper %}abc{{ n }}{% endfilter %} {% filter trim | replace('b', '-') %} abc {% endfilter %}|
{% macro m(a, b=2, c=none) %}[{{ a }}-{{ b }}-{{ c }}-{{ n }}]{% endmacro %}{{ m(1) }}{{ m(1, c=3) }}{{ m(b='x', a='y') }}{{ m() }} {% macro fact(k) %}{% if k < 2 %}1{% else %}{{ k * (fact(k - 1) | int) }}{% endif %}{% endmacro %}{{ fact(10) }} {% macro outer() %}{{ late }}{% endmacro %}{% set late = 'L' %}{{ outer() }} {% macro unseen() %}{{ i }}{% endmacro %}{% for i in l %}{{ unseen() }}{% endfor %}| {% macro loopless() %}{% for i in [1, 2] %}{{ loop.index }}{% endfor %}{% endmacro %}{{ loopless() | upper }}
{% if n == 7 %}seven{% elif n == 8 %}eight{% else %}other{% endif %} {% if no %}a{% elif missing %}b{% endif %}| {% if l and d and s %}all{% endif %} {% if n is defined and n is not none %}ok{% endif %}
a {#- gone -#} b {# c #} d {#+ e +#} f
A{%- if yes %} B {%- endif %} C {{- n -}} D {% if yes -%} E {% endif -%} F
{{ "{{ x }}" }} {{ '}}' }} {{ '%}' }} {{ {'a': {'b': 1}}['a']['b'] }} {{ {'a': {'b': 1}} }} {{ "\x41\u00e9\t\"\'\\" }} {{ '\d' }}
{{ strftime_now('%Y-%m-%d %H:%M') }} {{ strftime_now("%d %b %Y") }} {{ strftime_now('') }}|
{{ raise_exception('No ' ~ n ~ ' please') }}
{{ missing.attribute }}
{{ s + 1 }}
{{ missing + 1 }}
{{ 1 / 0 }}
{{ 'a' < 1 }}
{{ n() }}
{{ missing() }}
{{ l.append(1) }}
{% for i in n %}{% endfor %}
{% for i in no %}{% endfor %}
{% set s.x = 1 %}
{{ s | tojson | nope }}
{{ n is nope }}
{{ d.__class__ }}|{{ s.__class__ }}
{{ range(1000000) | length }}
{{ s.upper(1) }}
{{ s | trim(chars="x", other=1) }}
{{ missing | tojson }}
{{ no | length }}
{{ [1, 'a'] | sort }}
{{ m(
{% if n %}
{% endfor %}
{{ 'unterminated
{% for i in l %}{{ i }}{% endif %}
{% include 'x' %}
{{ s[ }}
{% set a, b = [1] %}
{% set a, b = [1, 2, 3] %}
{{ 'x'.split('') }}
{% break %}
{# never ends
""".strip("\n").split("\n")
MULTILINE = [
    "  {% if yes %}\n    in\n  {% endif %}\n  {{ n }}\n\n  {%+ if yes %}kept{% endif +%}\nnext\n",
    "{% for i in l %}\n  {{ i }}\n{% endfor %}\nend\n\n",
    "\n\n{%- if yes -%}\n\n  x  \n\n{%- endif -%}\n\n y",
    "a\r\n{% if yes %}\r\nb\r{% endif %}\r\nc\r\n",
    "  {# c #}\n  t {# d #} u\n\t{% set q = 1 %}\n{{ q }}{% set r = 2 %}  \n  {{- r }}",
    "{%- macro show(v, depth=0) %}\n{%- if v is mapping %}{{ '{' }}{% for k, w in v | dictsort %}{{ k }}:{{ show(w, depth + 1) }}{{ ',' if not loop.last }}{% endfor %}{{ '}' }}\n"
    "{%- elif v is iterable and v is not string %}{{ '[' }}{% for w in v %}{{ show(w, depth + 1) }}{{ ',' if not loop.last }}{% endfor %}]{{ depth }}\n{%- else %}{{ v | tojson }}\n{%- endif %}{% endmacro %}\n{{ show(tool) }} {{ show(d) }}",
    "{{ n }}{% if yes %}\n\n\n{{ n }}\n{% endif %}\n\n",
    "{% if yes %}  {% if yes %}  a\n  {% endif %}{% endif %}  {% if yes %}\nb{% endif %}",
]
CHATML = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}{% else %}{{ m.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
PLAIN = CHATML.replace("{% generation %}", "").replace("{% endgeneration %}{{ '\\n' }}", "{{ '\\n' }}")
TOOLS = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}{{ tool | tojson }}{{ '\\n' }}{% endfor %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- generation %}
        {{- message.reasoning_content | default('') ~ content }}
        {%- for call in message.tool_calls or [] %}
            {{- '<call>' ~ (call.function.name) ~ ' ' ~ (call.function.arguments | tojson) ~ '</call>' }}
        {%- endfor %}
        {%- endgeneration %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>tool\\n' + content + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}
"""
TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello \u00e9!"},
        {"role": "user", "content": "Bye"}, {"role": "assistant", "content": "So long."}]
CALLS = [{"role": "user", "content": "weather?"}, {"role": "assistant", "content": None, "thinking": "hm. ",
                                                    "tool_calls": [{"type": "function", "function": {"name": "get", "arguments": {"city": "Z\u00fcrich", "n": 2}}}]},
         {"role": "tool", "content": "sunny"}, {"role": "assistant", "content": "Sunny."}]
CHATS = [("marked", CHATML, TALK, None, False), ("asked", CHATML, TALK[:-1], None, True), ("plain", PLAIN, TALK, None, False), ("tools", TOOLS, CALLS, [VARIABLES["tool"]], False),
         ("no tools", TOOLS, CALLS, None, True),
         ("null", "{% for m in messages %}{{ m.content is defined }}{{ m.reasoning_content }}{{ m.thinking }}{{ m.reasoning }};{% endfor %}",
          CALLS + [{"role": "assistant", "content": "a", "reasoning": "r"}], None, False)]


def render(template, variables):
    try:
        return {"text": chat_template_utils._compile_jinja_template(template).render(**variables)}
    except Exception as why:  # noqa: BLE001  what jinja2 raises has no common root
        return {"error": type(why).__name__}


def main():
    rows = [{"template": template, **render(template, VARIABLES)} for template in SNIPPETS + MULTILINE]
    chats = []
    for name, template, messages, tools, prompt in CHATS:
        bare = [{key: value for key, value in message.items() if value is not None} for message in messages]
        texts, spans = chat_template_utils.render_jinja_template([bare], tools=tools, chat_template=template, add_generation_prompt=prompt,
                                                                 return_assistant_tokens_mask="generation" in template, bos_token="<s>", eos_token="<|im_end|>")
        text = texts[0]
        size = lambda n: len(text[:n].encode())  # noqa: E731  spans are of characters there
        chats.append({"name": name, "template": template, "messages": messages, **({"tools": tools} if tools else {}), "add_generation_prompt": prompt, "text": text,
                      **({"spans": [[size(a), size(b)] for a, b in spans[0]]} if "generation %}" in template else {})})
    with open(os.path.join(here, "templates.json"), "w", encoding="utf-8") as file:
        json.dump({"now": NOW, "variables": VARIABLES, "snippets": rows, "chats": chats}, file, ensure_ascii=True, indent=0)
        file.write("\n")


main()
