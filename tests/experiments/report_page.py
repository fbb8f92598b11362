"""Hostile logs and steps for the report, and what its page may hold (tests/experiments/report_page.sh).

report_page.py log FILE            writes a log in the format chat
report_page.py break FOLDER SEED   puts hostile text into the steps' results
report_page.py page FILE SOURCES   reads the page; exit 1 and what is wrong if it holds anything of others
"""
import base64, hashlib, html.parser, json, os, random, re, sys

HOSTILE = [
    "<script>alert(1)</script>", "</style><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\" onmouseover=\"alert(1)",
    "' onfocus='alert(1)' autofocus='", "<svg/onload=alert(1)>", "]]><!--", "--><b>", "javascript:alert(1)", "<a href=//evil.example>x</a>",
    "&lt;script&gt;", "&#x3c;script&#x3e;", "\u202egnp.exe", "\u2066\u2067\u2068", "a" * 100000, "\u0301" * 3000 + "x", "z" + "\u0335\u0489" * 500,
    "\u200b\u2060\ufeff" * 50, "\U000e0041\U000e0042", "\u2028\u2029", "\x1b[2J\x07", "\ufffe\uffff", "<math><mtext></table></math>", "</article></section></main></body></html>",
    "<plaintext>", "<noscript><p title=\"</noscript><img src=x>\">", "{{7*7}}", "\r\n\r\n<h1>", "x" * 70 + "\u0000".replace("\0", "\ufffd"), "😀" * 2000,
]
VOID = {"meta", "br", "wbr", "rect", "circle", "path", "use", "feflood", "fecomposite"}
TAGS = VOID | set("""html head title style body a header p h1 h2 h3 h4 h5 nav ul ol li main section article div span b code pre dl dt dd table caption
    thead tbody tr th td figure figcaption details summary script svg g defs text filter button""".split())
ATTRIBUTES = set("""lang charset name content http-equiv class href id role aria-label aria-labelledby aria-hidden scope tabindex data-label data-value dir start
    viewbox x y width height fill r stroke stroke-width d cx cy transform color stroke-linecap stroke-linejoin stroke-dasharray font-family font-size
    text-anchor xml:space xlink:href filterunits flood-color flood-opacity result in in2 operator font-weight font-style""".split())


def log(path):
    draw = random.Random(3)
    with open(path, "w", encoding="utf-8") as out:
        for i in range(240):
            say = lambda: draw.choice(HOSTILE) + draw.choice([" how do I do it?", " tell me", ""]) + str(draw.randrange(40))
            bad = i % 2
            refuse = {"text": "I am sorry, I cannot help. " + say(), "outcome": "refusal", "model": draw.choice(HOSTILE[:12])}
            comply = {"text": "Sure, " + say(), "outcome": "compliance", "model": draw.choice(HOSTILE[:12])}
            taken = bad if draw.random() < .7 else 1 - bad
            candidates = [dict(refuse, taken=bool(taken)), dict(comply, taken=not taken)]
            messages = [{"role": "system", "content": say()}] if draw.random() < .3 else []
            for _ in range(draw.randrange(3)):
                messages += [{"role": "user", "content": say()}, {"role": "assistant", "content": say()}]
            messages += [{"role": "user", "content": say()}, {"role": "assistant", "content": refuse["text"] if taken else comply["text"], "candidates": candidates}]
            out.write(json.dumps({"id": f"{i} {draw.choice(HOSTILE[:12])}", "risk": "dangerous" if bad else "benign", "split": "test" if i % 3 == 0 else "train",
                                  "messages": messages, "meta": {"category": draw.choice(HOSTILE), "language": draw.choice(HOSTILE)}}, ensure_ascii=False) + "\n")


def broken(value, draw):
    """The same with some texts, numbers and keys that nobody expects."""
    if isinstance(value, dict):
        return {key if draw.random() < .97 else draw.choice(HOSTILE[:12]) + key: broken(item, draw) for key, item in value.items()}
    if isinstance(value, list):
        return [broken(item, draw) for item in value if draw.random() < .97]
    if isinstance(value, str):
        return draw.choice(HOSTILE) if draw.random() < .3 else value
    if isinstance(value, float) and draw.random() < .1:
        return draw.choice([1e308, -1e308, 0.0, None, "7", -3])
    return value


def break_steps(folder, seed):
    draw = random.Random(seed)
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        step = json.load(open(path, encoding="utf-8"))
        step["result"] = broken(step["result"], draw)
        for key in ("title", "group"):
            if draw.random() < .5: step[key] = draw.choice(HOSTILE)
        json.dump(step, open(path, "w", encoding="utf-8"))


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.wrong, self.ids, self.text, self.whole, self.cards, self.policy = [], [], set(), [], {"style": [], "script": []}, 0, ""

    def handle_starttag(self, tag, attributes):
        if tag not in TAGS: self.wrong.append(f"tag <{tag}> at {self.getpos()}")
        for name, value in attributes:
            if name not in ATTRIBUTES: self.wrong.append(f"attribute {name} of <{tag}> at {self.getpos()}")
            if name in ("href", "xlink:href") and not (value or "").startswith("#"): self.wrong.append(f"{name}={value} at {self.getpos()}")
            if name == "id":
                if value in self.ids: self.wrong.append(f"id {value} twice")
                self.ids.add(value)
            if value and re.search("url\\((?!#)|expression", value): self.wrong.append(f"{name}={value[:60]}")
        got = dict(attributes)
        if (got.get("http-equiv") or "").lower() == "content-security-policy": self.policy = got["content"]
        if tag == "article" and got.get("class") == "case": self.cards += 1
        if tag in self.whole: self.whole[tag].append("")
        if tag not in VOID: self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID: self.open.pop()

    def handle_endtag(self, tag):
        if tag in VOID: return
        if not self.open or self.open.pop() != tag: self.wrong.append(f"</{tag}> at {self.getpos()} closes what is not open")

    def handle_data(self, data):
        if self.open and self.open[-1] in self.whole: self.whole[self.open[-1]][-1] += data
        else: self.text.append(data)

    def handle_comment(self, data): self.wrong.append(f"a comment at {self.getpos()}")
    def handle_pi(self, data): self.wrong.append(f"an instruction at {self.getpos()}")
    def unknown_decl(self, data): self.wrong.append(f"a declaration at {self.getpos()}")


def page(path, sources):
    text = open(path, "rb").read().decode("utf-8")  # strict
    read = Page()
    read.feed(text)
    read.close()
    wrong = read.wrong
    if read.open: wrong.append(f"never closed: {read.open}")
    for kind, name in (("style", "report.css"), ("script", "report.js")):
        own = open(os.path.join(sources, name), encoding="utf-8").read()
        if read.whole[kind] != [own]: wrong.append(f"{len(read.whole[kind])} <{kind}>, not just {name}")
        if f"{kind}-src 'sha256-{base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()}'" not in read.policy: wrong.append(f"the policy does not name {name}")
    if not read.policy.startswith("default-src 'none'"): wrong.append(f"policy: {read.policy}")
    said = "".join(read.text)
    if re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f\ufeff\U000e0000-\U000e007f]", said): wrong.append("characters that hide or turn text")
    if re.search("[\u0300-\u036f]{5}", said): wrong.append("a stack of marks")
    if re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", said): wrong.append("control characters")
    print(f"cards {read.cards}, {len(text)} characters")
    for one in wrong[:10]: print(one)
    return 1 if wrong else 0


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "log": log(rest[0])
    elif command == "break": break_steps(rest[0], int(rest[1]))
    else: sys.exit(page(*rest))
