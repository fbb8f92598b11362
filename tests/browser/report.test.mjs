// The report in a browser: it fits every page, light and dark, on paper; it asks nothing of any server; hostile text runs
// nothing and breaks no box; axe finds nothing serious; tables sort by mouse and keyboard; folded turns are printed.
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {execFileSync} from 'node:child_process';
import {dirname, join} from 'node:path';
import {fileURLToPath, pathToFileURL} from 'node:url';
import {check, finish, keel, launch, SCHEMES, scratch, shot, tooWide, violations, WIDTHS} from './browser.mjs';

const here = dirname(fileURLToPath(import.meta.url)), work = scratch();

// ---- pages ----
const recipe = (steps, name) => writeFileSync(join(work, `${name}.json`), JSON.stringify({name, about: 'For the tests in a browser.', steps}));
const learn = (store, more) => [
    {name: 'sft', verb: 'sft', args: {store, base: 'builtin', out: '${out}/base', metrics: '${out}/base.jsonl', set: ['epochs=1', 'buckets=4096', 'min_updates=40']}},
    ...['bc', 'cql'].flatMap(algo => [
        {name: `train-${algo}`, title: algo, verb: 'train', args: {store, base: '${out}/base', algo, out: `\${out}/${algo}`, metrics: `\${out}/${algo}.jsonl`, set: ['steps=300', 'hidden=16']}},
        {name: `eval-${algo}`, title: algo, group: 'Held out', verb: 'eval', args: {store, policy: `\${out}/${algo}`, cases: 4, gate: ['refusal_rate.high >= 0.1'], out: `\${out}/eval-${algo}.json`, ...more}}]),
    {name: 'replay', title: 'cql', verb: 'replay', args: {store, policy: '${out}/cql', disagree: true, limit: 3}}];
recipe([{name: 'simulate', verb: 'simulate', args: {store: '${out}/s.db', env: 'support-desk', behaviour: 'support-82', episodes: 1500, seed: 2}},
    ...learn('${out}/s.db', {}),
    {name: 'rollout', title: 'cql', group: 'Played', verb: 'simulate', args: {store: '${out}/r.db', env: 'support-desk', policy: '${out}/cql', base: '${out}/base', episodes: 200, seed: 5}}], 'plain');
execFileSync('python3', [join(here, '../experiments/report_page.py'), 'log', join(work, 'hostile.jsonl')]);
recipe([{name: 'import', verb: 'import', args: {store: '${out}/s.db', format: 'chat'}, positional: ['${data}/hostile.jsonl']}, ...learn('${out}/s.db', {})], 'hostile');
for (const name of ['plain', 'hostile']) keel('run', join(work, `${name}.json`), '--out', join(work, name), '--data', work, '--quiet');
writeFileSync(join(work, 'none.jsonl'), '');
keel('import', '--store', join(work, 'none.db'), '--format', 'chat', join(work, 'none.jsonl'), '--quiet');
mkdirSync(join(work, 'empty'));
keel('report', '--store', join(work, 'none.db'), '--out', join(work, 'empty/report.html'), '--quiet');
// A front: two points that differ in weights.
const front = JSON.parse(readFileSync(join(work, 'plain/steps/eval-cql.json'), 'utf8'));
const point = (completion, safety, on) => ({policy: 'x', weights: {accuracy: completion, speed: 0, safety: 1 - completion}, utility: .5, on_front: on,
    metrics: {completion_rate: {value: completion, low: completion - .1, high: completion + .1, n: 90}, safety: {value: safety, low: safety - .1, high: 0, n: 90},
              speed: {value: .4, low: .3, high: .5, n: 90}, refusal_rate: {value: .9, low: .8, high: .95, n: 12}}});
front.result.front = {reference: [0, 0, -1], hypervolume: .5, best_alone: .4, mean_utility: .5, trained: {updates: 10, transitions: 100},
    points: [point(.9, -.2, true), point(.7, -.05, true), point(.6, -.3, false)]};
writeFileSync(join(work, 'plain/steps/eval-cql.json'), JSON.stringify(front));
keel('report', '--run', join(work, 'plain'), '--quiet');

// ---- each page, at each width, light and dark ----
const browser = await launch();
async function open(name, options) {
    const context = await browser.newContext(options), page = await context.newPage(), asked = [], alarms = [];
    const url = pathToFileURL(join(work, name, 'report.html')).href;
    page.on('request', request => { if (request.url() !== url) asked.push(request.url()); });
    page.on('dialog', dialog => { alarms.push(dialog.message()); dialog.dismiss(); });
    page.on('pageerror', error => alarms.push(error.message));
    page.on('console', message => { if (message.type() === 'error') alarms.push(message.text()); });
    await page.goto(url);
    return {page, context, asked, alarms};
}
// Texts of a plot that lie on one another.
const overlaps = page => page.evaluate(() => {
    const found = [];
    for (const svg of document.querySelectorAll('svg')) {
        const boxes = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]).filter(([, box]) => box.width);
        boxes.forEach(([a, x], i) => boxes.slice(i + 1).forEach(([b, y]) => {
            if (x.left < y.right - 1 && y.left < x.right - 1 && x.top < y.bottom - 2 && y.top < x.bottom - 2) found.push(`${a} and ${b}`);
        }));
    }
    return found.slice(0, 5);
});
// The least size of a plot's text that is seen.
const smallest = page => page.evaluate(() => {
    let least = Infinity;
    for (const svg of document.querySelectorAll('svg')) {
        const box = svg.getBoundingClientRect();
        if (!box.width) continue;
        const scale = box.width / svg.viewBox.baseVal.width;
        for (const text of svg.querySelectorAll('[font-size]')) least = Math.min(least, scale * parseFloat(text.getAttribute('font-size')));
    }
    return least;
});
for (const name of ['plain', 'hostile', 'empty'])
    for (const scheme of SCHEMES)
        for (const width of WIDTHS) {
            const {page, context, asked, alarms} = await open(name, {viewport: {width, height: 900}, colorScheme: scheme});
            const where = `${name}, ${scheme}, ${width} px`;
            for (const folded of [true, false]) {
                if (!folded) await page.evaluate(() => document.querySelectorAll('details').forEach(details => { details.open = true; }));
                const wide = await tooWide(page);
                check(!wide.length, `${where}${folded ? '' : ', unfolded'}: wider than the page: ${wide.join('; ')}`);
            }
            const serious = await violations(page);
            check(!serious.length, `${where}: axe: ${serious.join('\n    ')}`);
            const run = await overlaps(page);
            check(!run.length, `${where}: texts of plots run together: ${run.join('; ')}`);
            check(await smallest(page) >= 9, `${where}: text of a plot is ${await smallest(page)} px high`);
            check(!asked.length, `${where}: asks for ${asked}`);
            check(!alarms.length, `${where}: ${alarms}`);
            await page.screenshot({path: shot(`report-${name}-${scheme}-${width}.png`), clip: {x: 0, y: 0, width, height: 2600}, fullPage: true});
            await context.close();
        }

// ---- what people do ----
{
    const {page, context} = await open('plain', {viewport: {width: 1280, height: 900}});
    const table = page.locator('table', {hasText: 'By category'}).first(), head = table.locator('thead th').nth(1);
    const numbers = () => table.locator('tbody tr td:nth-child(2)').evaluateAll(cells => cells.map(cell => parseFloat(cell.dataset.value)));
    await head.locator('[role=button]').focus();
    await page.keyboard.press('Enter');
    let got = await numbers();
    check(got.length > 5 && got.every((x, i) => !i || got[i - 1] >= x), `sorted downwards by the keyboard: ${got}`);
    check(await head.getAttribute('aria-sort') === 'descending', 'the column says that it is sorted');
    await head.locator('[role=button]').click();
    got = await numbers();
    check(got.every((x, i) => !i || got[i - 1] <= x), `sorted upwards by the mouse: ${got}`);
    check(await page.locator('.case').count() >= 8, 'decisions to read');
    check(await page.locator('#fronts').count() === 1, 'fronts');
    check(await page.locator('.verdict').first().locator('dt').allTextContents().then(asks => asks.length) === 6, 'what a release asks');
    // Every link leads somewhere, and the first stop of the Tab key leads past the head.
    const dead = await page.evaluate(() => [...document.querySelectorAll('a')].map(a => a.getAttribute('href')).filter(href => !href.startsWith('#') || !document.getElementById(href.slice(1))));
    check(!dead.length, `links that lead nowhere: ${dead}`);
    await page.reload();
    await page.keyboard.press('Tab');
    check(await page.evaluate(() => document.activeElement.className) === 'skip', 'the first stop is the link to the verdict');
    await context.close();
}
{
    const {page, context} = await open('hostile', {viewport: {width: 360, height: 900}});
    const cards = await page.locator('.case').count();
    check(cards >= 8, `decisions of a hostile log: ${cards}`);
    // A card holds all that is said in it: nothing is drawn outside.
    const out = await page.evaluate(() => [...document.querySelectorAll('.case .text')].filter(text => {
        const card = text.closest('.case').getBoundingClientRect(), box = text.getBoundingClientRect();
        return box.left < card.left || box.right > card.right + 1 || box.bottom > card.bottom + 1;
    }).length);
    check(out === 0, `${out} texts reach out of their card`);
    check(await page.evaluate(() => document.scripts.length) === 1, 'one script');
    await context.close();
}

// ---- on paper ----
for (const name of ['plain', 'hostile']) {
    const {page, context} = await open(name, {viewport: {width: 688, height: 970}}); // A4 less its margins, in CSS pixels
    const pdf = await page.pdf({path: shot(`report-${name}.pdf`), format: 'A4', preferCSSPageSize: true});
    check(pdf.length > 20000, `${name}: a PDF`);
    check(await page.locator('details.whole:not([open])').count() === 0, `${name}: folded turns are open on paper`);
    await page.emulateMedia({media: 'print'});
    const cut = await page.evaluate(() => {
        const found = [];
        for (const element of document.body.querySelectorAll('*:not(.unseen)')) {
            const box = element.getBoundingClientRect(), style = getComputedStyle(element);
            if (element.closest('svg, .unseen') || !box.width) continue;
            if (box.right > innerWidth + 1) found.push(`${element.tagName}.${element.className} ${element.textContent.slice(0, 30)} to ${Math.round(box.right)} of ${innerWidth}`);
            if (/auto|scroll/.test(style.overflowX) && element.scrollWidth > element.clientWidth + 1) found.push(`${element.className} is cut`);
        }
        return found.slice(0, 5);
    });
    check(!cut.length, `${name}, on paper: ${cut.join('; ')}`);
    await context.close();
}
await browser.close();
finish();
