// What somebody new looks for in the dashboard: see.cjs BROWSER URL PROFILE PICTURE ends well once merchants are shown and their figures have
// changed twice without anybody touching the page.
'use strict';
const assert = require('node:assert');
const { chromium } = require('playwright-core');

const [executablePath, url, profile, picture] = process.argv.slice(2);

(async () => {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath, headless: true, viewport: { width: 1280, height: 800 },
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    const page = await context.newPage();
    await page.goto(url);
    let shown = '';
    for (let seen = 0; seen < 3; seen++) {
      const changed = (before) => {
        const now = document.getElementById('merchants').textContent;
        return /M\d+/.test(now) && now !== before;
      };
      await page.waitForFunction(changed, shown, { timeout: 60000 });
      shown = await page.textContent('#merchants');
    }
    assert.match(shown, /M\d+/);
    await page.screenshot({ path: picture, fullPage: true });
  } finally {
    await context.close();
  }
})().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
