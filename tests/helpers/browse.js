// Opens the page of examples/web and moves its slider:
//   node browse.js NODE_MODULES CHROMIUM URL SCREENSHOT COUNT COUNT ...
// Prints what the page shows for each count as JSON, and what the browser complained of.
const [modules, executablePath, url, screenshot, ...counts] = process.argv.slice(2);
const { chromium } = require(`${modules}/playwright-core`);

async function main() {
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
  args.push("--disable-background-networking", "--disable-component-update");
  const browser = await chromium.launch({ executablePath, args });
  const page = await browser.newPage({ viewport: { width: 1100, height: 900 } });
  const complaints = [], asked = [], shown = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (m) => m.type() === "error" && complaints.push(m.text()));
  page.on("request", (request) => asked.push(request.url()));
  await page.goto(url);
  const slider = page.locator("#lines");
  await page.waitForFunction(() =>
    !document.getElementById("lines").disabled || /^Error/.test(document.getElementById("status").textContent));
  for (const count of counts) {
    if (await slider.isDisabled()) break;
    await slider.fill(count);
    await page.waitForFunction((n) => window.shown.count === n, +count);
    shown.push(await page.evaluate(() => ({
      ...window.shown,
      found: Object.fromEntries(
        Object.entries(window.shown.found).map(([id, values]) => [id, [...values]])),
      text: document.body.innerText,
    })));
  }
  const text = await page.locator("body").innerText();
  await page.screenshot({ path: screenshot });
  await browser.close();
  console.log(JSON.stringify({ shown, text, complaints, asked }));
}

main().catch((error) => { console.error(error); process.exit(1); });
