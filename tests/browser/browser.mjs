// What the tests in a browser share: the browser, places, a count of checks, and what every page must keep to.
import {execFileSync} from 'node:child_process';
import {mkdtempSync, readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

const require = createRequire(join(process.env.KEEL_BROWSER_MODULES, 'package.json'));
const {chromium} = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

export const WIDTHS = [360, 768, 1280], SCHEMES = ['light', 'dark'];
export const keel = (...args) => execFileSync(process.env.KEEL, args, {encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe']});
export const scratch = () => mkdtempSync(join(tmpdir(), 'keel-browser-'));
export const shot = name => join(process.env.KEEL_BROWSER_SHOTS, name);
export const launch = () => chromium.launch({executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox']});

let checks = 0, failures = 0;
export function check(holds, says) {
    checks++;
    if (holds) return;
    failures++;
    console.log(`FAILED: ${says}`);
}
// Ends a test: 0 if something was checked and all of it holds.
export function finish() {
    console.log(`${checks} checks, ${failures} failed`);
    process.exit(checks === 0 || failures ? 1 : 0);
}

// Elements that reach beyond the page, but for those inside a box that scrolls by itself.
export const tooWide = page => page.evaluate(() => {
    const width = document.documentElement.clientWidth, found = [];
    if (document.documentElement.scrollWidth > width) found.push(`the page: ${document.documentElement.scrollWidth}`);
    for (const element of document.body.querySelectorAll('*')) {
        if (element.closest('svg') && element.tagName !== 'svg') continue;
        const box = element.getBoundingClientRect();
        let scrolls = false;
        for (let at = element.parentElement; at && !scrolls; at = at.parentElement)
            scrolls = /auto|scroll|hidden|clip/.test(getComputedStyle(at).overflowX) && at !== document.body;
        if (box.width && !scrolls && (box.right > width + 1 || box.left < -1))
            found.push(`${element.tagName}.${element.className}: ${Math.round(box.left)} to ${Math.round(box.right)}`);
    }
    return found.slice(0, 5);
});

// Violations of WCAG A and AA that axe calls serious or critical, as lines of text.
export async function violations(page) {
    await page.evaluate(axe);
    const result = await page.evaluate(() => axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}));
    return result.violations.filter(one => ['serious', 'critical'].includes(one.impact))
        .map(one => `${one.id} (${one.impact}) at ${one.nodes.slice(0, 3).map(node => node.target.join(' ') + ' ' + (node.any[0]?.message ?? '')).join('; ')}`);
}
