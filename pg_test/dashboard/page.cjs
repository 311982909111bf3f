// Looks at the dashboard in a headless Chromium: page.cjs BROWSER URL PROFILE PICTURE. Fails at the first thing that is not as promised;
// at the end the picture is the whole page.
'use strict';
const assert = require('node:assert');
const { chromium } = require('playwright-core');

const [executablePath, url, profile, picture] = process.argv.slice(2);
const LONG = { timeout: 60000 };

(async () => {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath, headless: true, viewport: { width: 1280, height: 800 }, colorScheme: 'light', timezoneId: 'UTC',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    const page = await context.newPage();
    const asked = [], wrong = [];
    page.on('request', (request) => asked.push(request.url()));
    page.on('console', (message) => message.type() === 'error' && wrong.push(message.text()));
    page.on('pageerror', (error) => wrong.push(String(error)));
    await page.goto(url);

    const text = (id) => page.textContent('#' + id);
    const rows = async () => Number((await text('rows')).replaceAll(',', ''));
    await page.waitForFunction(() => /^[1-9]/.test(document.getElementById('rows').textContent), null, LONG);
    const before = await rows();
    for (const list of ['merchants', 'rejects']) {
      await page.waitForFunction((id) => document.querySelectorAll(`#${id} li span:nth-child(3)`).length > 1, list, LONG);
    }
    assert.match(await text('merchants'), /M\d+/);
    assert.match(await text('rejects'), /amount: not numeric\(12,2\)/);
    assert.match(await text('cursors'), /billing\s*active/);
    assert.match(await text('pipelines'), /transactions/);
    assert.match(await text('lag'), /\d (ms|s|min)$/);
    assert.match(await text('about'), /as millrace_dashboard/);

    // Live: more rows, without anybody touching the page.
    await page.waitForFunction((then) => Number(document.getElementById('rows').textContent.replaceAll(',', '')) > then, before, LONG);
    // Each chart has a line in its colour, not just axes.
    for (const [chart, colour] of [['throughput', 'first'], ['lagging', 'first'], ['rejecting', 'fourth'], ['consumers', 'second']]) {
      const drawn = ([id, name]) => {
        const canvas = document.querySelector(`#${id} canvas`);
        const wanted = getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim().match(/\w\w/g).map((h) => parseInt(h, 16));
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0;
        for (let i = 0; i < pixels.length; i += 4) count += pixels[i + 3] > 200 && wanted.every((c, k) => Math.abs(pixels[i + k] - c) < 40);
        return count > 50;
      };
      await page.waitForFunction(drawn, [chart, colour], LONG);
    }
    await page.screenshot({ path: picture, fullPage: true });

    await page.click('button[data-span="15"]');
    await page.waitForRequest((request) => request.url().endsWith('span=15'), LONG);
    await page.waitForFunction(() => document.getElementById('trouble').hidden, null, LONG);
    assert.deepStrictEqual(wrong, []);
    const others = asked.filter((address) => !address.startsWith(url) && !address.startsWith('data:'));
    assert.deepStrictEqual(others, [], 'asked other hosts');
  } finally {
    await context.close();
  }
})().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
