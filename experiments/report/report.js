// Tables sort by a click on a column's head; before printing, the turns that are folded are opened. Without this script the
// page says the same.
'use strict';
for (const table of document.querySelectorAll('main table')) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    if (body.rows.length < 3) continue;
    const value = (row, i) => i ? parseFloat(row.cells[i].dataset.value) : row.cells[i].textContent;
    heads.forEach((head, i) => {
        const sorts = i === 0 || [...body.rows].some(row => row.cells[i] && row.cells[i].dataset.value);
        if (!sorts) return;
        // Not a <button>: browsers leave those out where a head is printed again on the next page.
        const button = document.createElement('span');
        button.setAttribute('role', 'button');
        button.tabIndex = 0;
        button.append(...head.childNodes);
        head.append(button);
        button.addEventListener('keydown', event => {
            if (event.key !== 'Enter' && event.key !== ' ') return;
            event.preventDefault();
            button.click();
        });
        button.addEventListener('click', () => {
            const down = head.getAttribute('aria-sort') !== 'descending';
            heads.forEach(other => other.removeAttribute('aria-sort'));
            head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
            const rows = [...body.rows].sort((a, b) => {
                const x = value(a, i), y = value(b, i);
                if (i === 0) return x.localeCompare(y, 'en', {numeric: true});
                return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) || 0 : x - y;
            });
            // What has no value stays last, whichever way.
            const known = rows.filter(row => i === 0 || !Number.isNaN(value(row, i)));
            if (down) known.reverse();
            body.append(...known, ...rows.filter(row => !known.includes(row)));
        });
    });
}
addEventListener('beforeprint', () => {
    for (const folded of document.querySelectorAll('details.whole:not([open])')) folded.open = true;
});
