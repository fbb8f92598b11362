// The page of `keel review`: 50 responses labelled by keyboard alone by two people at once, the program killed in the
// middle: every label is in the store, once. Hostile conversations stay text. No element is wider than the page.
import {execFileSync, spawn} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {SCHEMES, WIDTHS, check, finish, keel, launch, scratch, shot, tooWide, violations} from './browser.mjs';

const folder = scratch(), store = join(folder, 'logs.db'), HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>\u202Egnp.exe\u2066 ' +
    'a' + '\u0301'.repeat(40) + ' ' + 'w'.repeat(3000) + ' \u001b[2J';
const conversations = [];
for (let i = 0; i < 60; i++)
    conversations.push(JSON.stringify({id: `c${i}`, risk: i % 2 ? 'dangerous' : 'benign', messages: [
        {role: 'system', content: 'Be useful.'},
        {role: 'user', content: `Request ${i}. ${i % 3 ? 'How is this done?' : HOSTILE}`},
        {role: 'assistant', model: 'desk <b>', content: i % 2 ? `I am sorry, I cannot help with ${i}.` : `Sure: ${i} steps. ${HOSTILE}`}]}));
writeFileSync(join(folder, 'log.jsonl'), conversations.join('\n') + '\n');
keel('import', '--store', store, '--format', 'chat', join(folder, 'log.jsonl'), '--quiet');
keel('label', '--store', store, '--quiet');

// ---- the program ----
let program, url;
function start(listen) {
    return new Promise((resolve, reject) => {
        program = spawn(process.env.KEEL, ['review', '--store', store, '--listen', listen, '--name', 'Ann'], {stdio: ['ignore', 'ignore', 'pipe']});
        let said = '';
        program.stderr.on('data', data => {
            said += data;
            const found = said.match(/review at (http:\S+)/);
            if (found) resolve(found[1].replace(/;$/, ''));
        });
        program.on('exit', code => { if (!/review at/.test(said)) reject(new Error(`keel review ended with ${code}: ${said}`)); });
    });
}
const ended = signal => new Promise(resolve => { program.on('exit', (code, by) => resolve(code ?? by)); program.kill(signal); });
url = await start('127.0.0.1:0');

// ---- two people ----
const browser = await launch(), kept = new Map(), elsewhere = [];
async function person(name) {
    const page = await (await browser.newContext({viewport: {width: 1280, height: 900}})).newPage();
    page.on('request', request => { if (!request.url().startsWith(url)) elsewhere.push(request.url()); });
    page.on('response', async response => {
        if (response.url().endsWith('/api/label') && response.status() === 200) {
            const said = response.request().postDataJSON();
            kept.set(`${said.item} ${said.reviewer}`, said);
        }
        if (response.url().endsWith('/api/undo') && response.status() === 200) {
            const {item} = await response.json();
            if (item) kept.delete(`${item.id} ${response.request().postDataJSON().reviewer}`);
        }
    });
    page.on('pageerror', error => check(false, `script of ${name}: ${error.message}`));
    await page.goto(url);
    const offered = await page.waitForFunction(() => document.querySelector('#name').value, null, {timeout: 10000}).then(name => name.jsonValue(), () => ''); // the page asks for it
    check(offered === 'Ann', 'the name of --name is offered');
    await page.keyboard.press('Control+a');
    await page.keyboard.type(name);
    await page.keyboard.press('Enter');
    await page.waitForSelector('#work:not([hidden])');
    return page;
}
const idle = page => page.waitForFunction(() => !document.querySelector('#outcome button').disabled, null, {timeout: 60000});
const status = page => page.textContent('#status');
// Presses a key that sends something, and waits until the page has gone on.
async function send(page, key) {
    await idle(page);
    await page.keyboard.press(key);
    await page.waitForFunction(() => document.querySelector('#outcome button').disabled, null, {timeout: 5000}).catch(() => {});
    await idle(page);
}
const ann = await person('Ann B.'), bob = await person('보람');
check(await ann.evaluate(() => document.activeElement.id) === 'conversation', 'the conversation has the focus');

const OUTCOMES = ['1', '2', '3', '4', '1', '3', '3', '1', 's'];
async function work(page, count, offset) {
    for (let i = 0; i < count; i++) {
        const k = i + offset;
        if (k % 4 === 1) await page.keyboard.press(k % 8 === 1 ? 'd' : 'b');
        if (k % 5 === 2) await page.keyboard.press(k % 2 ? 'y' : 'n');
        if (k % 7 === 3) {
            await page.keyboard.press('e');
            await page.keyboard.type('1 note, with keys: 3 s u');
            await page.keyboard.press('Escape');
        }
        await send(page, OUTCOMES[k % OUTCOMES.length]);
    }
}
await Promise.all([work(ann, 9, 0), work(bob, 9, 3)]);
check(kept.size === 18, `18 labels and skips so far, not ${kept.size}`);
check((await status(ann)).length > 0, 'the live region says what happened');

// Undo, by keyboard: the response comes back with what was said, and is labelled anew.
await send(ann, 'u');
check(/^Taken back/.test(await status(ann)), `undo is said: ${await status(ann)}`);
check(kept.size === 17, 'undo takes one back');
await send(ann, '3');

// ---- killed in the middle ----
const half = Promise.all([work(ann, 16, 1), work(bob, 16, 5)]);
await ann.waitForTimeout(300);
check(await ended('SIGKILL') === 'SIGKILL', 'the program is killed');
const silent = page => page.waitForFunction(() => /does not answer/.test(document.getElementById('alert').textContent), null, {timeout: 60000});
check(await Promise.any([silent(ann), silent(bob)]).catch(() => false), 'the page says that the program does not answer');
await start(new URL(url).host);
await half;
while (kept.size < 52) await work(kept.size % 2 ? ann : bob, 1, 2);

// ---- hostile text ----
check(elsewhere.length === 0, `nothing is loaded from elsewhere: ${elsewhere}`);
check(!await ann.evaluate(() => window.pwned), 'no script of a conversation ran');
const texts = [];
for (const page of [ann, bob]) texts.push(await page.textContent('#conversation'));
// A page of its own that shows the worst one.
await ann.route('**/api/next*', async route => {
    const response = await route.fetch(), json = await response.json();
    if (json.item) json.item.response.text = HOSTILE;
    await route.fulfill({response, json});
});
await ann.reload();
await ann.waitForSelector('#work:not([hidden])');
const shown = await ann.textContent('#response');
check(shown.includes('<img src=x') && shown.includes('[U+202E]') && shown.includes('[U+2066]') && shown.includes('[U+001B]') && /\[\+3\d marks\]/.test(shown),
    `markup and hidden characters are seen: ${JSON.stringify(shown.slice(0, 160))}`);
check(!/[\u202A-\u202E\u2066-\u2069]/.test(shown), 'no bidirectional control is left');
check(await ann.evaluate(() => document.querySelectorAll('#conversation img, #conversation script').length) === 0, 'no element of a conversation');

// ---- every width, light and dark ----
async function look(page, name) {
    for (const width of WIDTHS)
        for (const scheme of SCHEMES) {
            await page.setViewportSize({width, height: 800});
            await page.emulateMedia({colorScheme: scheme});
            const wide = await tooWide(page), wrong = await violations(page);
            check(wide.length === 0, `${name}, ${width} px, ${scheme}: too wide: ${wide}`);
            check(wrong.length === 0, `${name}, ${width} px, ${scheme}: ${wrong.join('\n    ')}`);
            await page.screenshot({path: shot(`review-${name}-${width}-${scheme}.png`), fullPage: true});
        }
    await page.setViewportSize({width: 1280, height: 900});
}
await look(ann, 'work');
await ann.keyboard.press('?');
check(await ann.evaluate(() => document.getElementById('help').open), '? opens the help');
await look(ann, 'help');
await ann.unroute('**/api/next*');

// Focus is seen on everything that takes it.
await ann.reload();
await ann.waitForSelector('#work:not([hidden])');
const unseen = [];
for (let i = 0; i < 24; i++) {
    await ann.keyboard.press('Tab');
    const found = await ann.evaluate(() => {
        const e = document.activeElement, style = getComputedStyle(e);
        return e === document.body || parseFloat(style.outlineWidth) >= 2 && style.outlineStyle !== 'none' ? null : e.outerHTML.slice(0, 80);
    });
    if (found) unseen.push(found);
}
check(unseen.length === 0, `focus is visible: ${unseen}`);

// ---- to the end ----
for (const page of [ann, bob])
    while (await page.isVisible('#work')) await send(page, '1');
await ann.click('#again');
while (await ann.isVisible('#work')) await send(ann, '2');
await look(ann, 'done');
await ann.click('#other');
await look(ann, 'sign');

// ---- every label, once ----
check(await ended('SIGINT') === 0, 'SIGINT ends the program with 0');
const rows = JSON.parse(execFileSync('python3', ['-c', `import json, sqlite3
c = sqlite3.connect(${JSON.stringify(store)})
print(json.dumps([[list(r) for r in c.execute(q)] for q in (
    "SELECT candidate_id, reviewer, outcome, harmful, risk, completed, note, at FROM reviews ORDER BY id",
    "SELECT candidate_id, judge_name, outcome FROM labels WHERE judge = 3",
    "SELECT count(*) FROM review_items WHERE done = 0")]))`], {encoding: 'utf8'}));
const NUMBER = {compliance: 1, partial_refusal: 2, refusal: 3, harmful: 1, skip: 0};
check(rows[0].length === kept.size, `the store has ${rows[0].length} reviews, the pages were told of ${kept.size}`);
for (const [candidate, reviewer, outcome, harmful, risk, completed, note, at] of rows[0]) {
    const said = kept.get(`${candidate} ${reviewer}`);
    check(said && NUMBER[said.outcome] === outcome && (said.outcome === 'harmful') === !!harmful && said.note === note &&
        ['unknown', 'benign', 'dangerous'][risk] === said.risk && {'-1': 'unknown', 0: 'no', 1: 'yes'}[completed] === said.completed &&
        Math.abs(at - Date.now() / 1000) < 3600, `review of ${candidate} by ${reviewer} is what was said`);
}
const labels = rows[0].filter(row => row[2] > 0);
check(labels.length >= 50, `at least 50 labels, not ${labels.length}`);
check(rows[1].length === labels.length && labels.every(row => rows[1].filter(one => one[0] === row[0] && one[1] === `review:${row[1]}` && one[2] === row[2]).length === 1),
    'each review is one label by its reviewer');
check(new Set(rows[0].map(row => row[1])).size === 2, 'both people labelled');
check(rows[2][0][0] === 0, 'nothing was left out');
await browser.close();
finish();
