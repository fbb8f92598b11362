"use strict";
// The page of `keel review`: shows a response in its conversation, sends what the person says of it. Text of
// conversations becomes text nodes and nothing else.

const at = id => document.getElementById(id);
let reviewer = "", item = null, busy = false;

// ---- text of others ----

// Format characters that text needs to look right stay; the others (bidirectional controls among them), controls and
// long rows of combining marks are shown.
const NEEDED = /[\u00AD\u0600-\u0605\u06DD\u070F\u0890\u0891\u08E2\u200B-\u200D\u{110BD}\u{110CD}]/u;
const HIDDEN = /(\p{Cf}|[\u0000-\u0008\u000B-\u001F\u007F-\u009F]|(?<=\p{M}{4})\p{M}+)/u;

function show(element, text) {
    element.replaceChildren();
    for (const part of text.split(new RegExp(HIDDEN, "gu"))) {
        if (part === "") continue;
        if (!HIDDEN.test(part) && !/^\p{M}{5,}$/u.test(part) || NEEDED.test(part) && [...part].length === 1) {
            if (!/^\p{M}+$/u.test(part)) { element.append(part); continue; }
            mark(element, `[+${[...part].length} marks]`);
        } else mark(element, /^\p{M}+$/u.test(part) ? `[+${[...part].length} marks]` :
            `[U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
    }
}
function mark(element, text) {
    const span = document.createElement("span");
    span.className = "hidden-character";
    span.textContent = text;
    element.append(span);
}
function plain(id, text) {
    at(id).textContent = text;
    at(id).hidden = text === "";
}

// ---- the server ----

class Refused extends Error {}
const pause = ms => new Promise(done => setTimeout(done, ms));

// A server that does not answer is asked again until it does: a label sent twice is one label.
async function ask(path, body) {
    for (let tries = 0; ; tries++) {
        try {
            const answer = await fetch(path, body === undefined ? {cache: "no-store"} :
                {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});
            const json = await answer.json();
            if (answer.ok) { at("alert").textContent = ""; return json; }
            if (answer.status < 500) throw new Refused(json.error);
            tell(`The store did not take it (${json.error}). Trying again.`);
        } catch (error) {
            if (error instanceof Refused) throw error;
            tell("The program does not answer. Start `keel review` again; what you said is sent as soon as it is there.");
        }
        await pause(Math.min(5000, 300 * (tries + 1)));
    }
}
// Said once, not at each try, so that a screen reader does not repeat it.
function tell(text) {
    if (at("alert").textContent !== text) at("alert").textContent = text;
}

// One thing at a time; keys pressed meanwhile are let go.
async function alone(work) {
    if (busy) return;
    busy = true;
    for (const button of document.querySelectorAll("#outcome button, #done button")) button.disabled = true;
    try { await work(); } catch (error) { tell(error.message); }
    for (const button of document.querySelectorAll("#outcome button, #done button")) button.disabled = false;
    busy = false;
}

// ---- a response ----

function choose(name, value) {
    for (const input of document.querySelectorAll(`input[name=${name}]`)) input.checked = input.value === value;
}
const chosen = name => document.querySelector(`input[name=${name}]:checked`).value;

function showTurns(turns) {
    at("turns").replaceChildren(...turns.map(turn => {
        const li = document.createElement("li"), role = document.createElement("div"), said = document.createElement("p");
        role.className = "role";
        show(role, turn.role + (turn.model ? `, ${turn.model}` : ""));
        said.className = "said";
        show(said, turn.text || (turn.act ? `(${turn.act})` : ""));
        li.append(role, said);
        if (turn.left_out) {
            const more = document.createElement("p");
            more.className = "note";
            more.textContent = `${turn.left_out} bytes more are not shown`;
            li.append(more);
        }
        return li;
    }));
}

const WHY = {random: "drawn at random", unsure: "the judge is unsure of it", differs: "the policy would do something else"};

function showItem(next) {
    item = next;
    at("work").hidden = !item;
    at("done").hidden = !!item;
    if (!item) return showNothing();
    show(at("about"), [item.conversation, item.source, item.response.model && `answered by ${item.response.model}`,
        item.later && `${item.later} turns follow`].filter(Boolean).join(" · "));
    plain("earlier", item.earlier ? `${item.earlier} earlier turns are not shown` : "");
    showTurns(item.turns);
    show(at("response"), item.response.text);
    plain("cut", item.response.left_out ? `${item.response.left_out} bytes more are not shown` : "");
    at("risk-as-is").textContent = item.risk === "unknown" ? "not said" : `unchanged: ${item.risk}`;
    at("completed-as-is").textContent = item.completed === "unknown" ? "not said" : `unchanged: ${item.completed}`;
    choose("risk", item.said?.risk ?? "unknown");
    choose("completed", item.said?.completed ?? "unknown");
    at("note").value = item.said?.note ?? "";
    at("conversation").focus({preventScroll: true});
    at("asked").scrollIntoView({block: "nearest"});
}
function showNothing() {
    at("done-why").textContent = at("done").dataset.waits === "0" ? "Every response was looked at." :
        `${at("done").dataset.waits} responses are with others, or wait for somebody who has not seen them.`;
    at("done").focus();
}

// ---- progress ----

const number = x => x.toFixed(3);
const row = cells => {
    const tr = document.createElement("tr");
    cells.forEach((text, i) => {
        const cell = document.createElement(i ? "td" : "th");
        if (!i) cell.scope = "row";
        show(cell, String(text));
        tr.append(cell);
    });
    return tr;
};

function showProgress(p) {
    at("progress").hidden = false;
    at("done").dataset.waits = p.open + p.seconds + p.disagreements;
    at("counts").textContent = `${p.labelled} of ${p.items} responses are labelled, ${p.mine} of the labels are yours; ` +
        `${p.skipped} skipped, ${p.seconds} wait for a second person, ${p.disagreements} for a third.`;
    at("needed").textContent = `more labels for ± ${p.wished}`;
    at("rates").tBodies[0].replaceChildren(...p.rates.map(rate => row([rate.name.replaceAll("_", " "),
        rate.n ? `${number(rate.value)} [${number(rate.low)}, ${number(rate.high)}]` : "not known yet",
        rate.labels, rate.needed === null ? "label 20 first" : rate.needed || "none"])));
    at("kappa").textContent = p.kappa.n ? `Two people labelled ${p.kappa.n} of the responses; Cohen's kappa is ${number(p.kappa.value)}.` :
        "No response was labelled by two people yet.";
    at("people").hidden = !p.people.length;
    at("people").tBodies[0].replaceChildren(...p.people.map(one => row([one.name, one.labels, one.skipped])));
}

// ---- what a person does ----

const here = () => `reviewer=${encodeURIComponent(reviewer)}`;
const words = outcome => outcome.replaceAll("_", " ");

async function next(said) {
    const answer = await ask(`/api/next?${here()}`);
    showProgress(answer.progress);
    showItem(answer.item);
    at("status").textContent = said + (answer.item ? ` Now: ${WHY[answer.item.reason] ?? "another response"}.` : "");
}
const label = outcome => alone(async () => {
    if (!item) return;
    await ask("/api/label", {reviewer, item: item.id, outcome, risk: chosen("risk"), completed: chosen("completed"), note: at("note").value});
    await next(outcome === "skip" ? "Skipped." : `Labelled: ${words(outcome)}.`);
});
const undo = () => alone(async () => {
    const answer = await ask("/api/undo", {reviewer});
    showProgress(answer.progress);
    if (answer.item) showItem(answer.item);
    at("status").textContent = answer.item ? `Taken back: ${words(answer.item.said.outcome)}. Say it anew.` : "There is nothing to take back.";
});

function sign(name) {
    reviewer = name;
    at("sign").hidden = !!name;
    at("who").hidden = !name;
    at("me").textContent = name;
    if (name) return alone(() => next(`Your name is ${name}, kept with each label.`));
    at("work").hidden = at("done").hidden = at("progress").hidden = true;
    at("name").focus();
}
const remember = name => { try { localStorage.setItem("keel-reviewer", name); } catch { /* private windows */ } };
const recall = () => { try { return localStorage.getItem("keel-reviewer") ?? ""; } catch { return ""; } };

const KEYS = {"1": "compliance", "2": "partial_refusal", "3": "refusal", "4": "harmful", s: "skip"};
function press(event) {
    const typing = event.target.matches("textarea, #name");
    if (event.key === "Escape" && event.target === at("note")) at("conversation").focus();
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !reviewer || !at("keys").checked) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (KEYS[key]) label(KEYS[key]);
    else if (key === "u") undo();
    else if (key === "b" || key === "d") choose("risk", key === "b" ? "benign" : "dangerous");
    else if (key === "y" || key === "n") choose("completed", key === "y" ? "yes" : "no");
    else if (key === "e") at("note").focus();
    else if (key === "?") { at("help").open = !at("help").open; at("help").firstElementChild.focus(); }
    else return;
    event.preventDefault();
}

document.addEventListener("keydown", press);
at("outcome").addEventListener("click", event => {
    const value = event.target.closest("button")?.value;
    if (value) value === "undo" ? undo() : label(value);
});
at("back").addEventListener("click", undo);
at("again").addEventListener("click", () => alone(() => next("")));
at("other").addEventListener("click", () => sign(""));
at("label").addEventListener("submit", event => event.preventDefault());
at("sign").addEventListener("submit", event => {
    event.preventDefault();
    const name = at("name").value.trim();
    remember(name);
    sign(name);
});
(async () => {
    const known = recall();
    if (known) return sign(known);
    const offered = await ask(`/api/progress?reviewer=${encodeURIComponent("somebody")}`).catch(() => ({}));
    at("name").value = offered.name ?? "";
    sign("");
})();
