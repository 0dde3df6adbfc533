// The demo page as a reader uses it, in a real Chromium against a running `fallthrough demo`.
//
// FALLTHROUGH_READY_FILE names the demo's ready file, FALLTHROUGH_CHROMIUM the browser,
// FALLTHROUGH_SCREENSHOTS (optional) a folder for pictures to look at. `cargo xtask test --only browser` sets them.
// Every page is watched: a request to another host, a console error or an uncaught exception fails its test.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import axe from "axe-core";
import { chromium } from "playwright-core";

const ready = JSON.parse(readFileSync(process.env.FALLTHROUGH_READY_FILE, "utf8"));
const screenshots = process.env.FALLTHROUGH_SCREENSHOTS;
const WAIT_MS = 10_000;

let browser;
let profile;

before(async () => {
  if (screenshots) mkdirSync(screenshots, { recursive: true });
  profile = mkdtempSync(join(tmpdir(), "fallthrough-browser-"));
  browser = await chromium.launch({
    executablePath: process.env.FALLTHROUGH_CHROMIUM,
    args: [
      "--no-sandbox", // CI runs as root.
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
    env: { ...process.env, HOME: profile },
  });
});

after(async () => {
  await browser?.close();
  if (profile) rmSync(profile, { recursive: true, force: true });
});

/** Runs `use` with a watched page. */
async function withPage(options, use) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  const complaints = [];
  const home = new URL(ready.s3).host;
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "blob:" && url.host !== home) complaints.push(`off-host request: ${request.url()}`);
  });
  page.on("console", (message) => {
    // A 503 that a test itself injects is reported by the browser and expected by that test.
    if (message.type() === "error" && !message.text().includes("503")) complaints.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`exception: ${error.message}`));
  try {
    await use(page, context);
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
}

const md5 = (text) => createHash("md5").update(text).digest("hex");
const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const fresh = (word) => `${word} ${randomBytes(6).toString("hex")}`;

/** The headers of an object for a client without a page. The body is read: a connection with an unread one stays. */
async function headersOf(path) {
  const answer = await fetch(`${ready.s3}${path}`);
  await answer.arrayBuffer();
  return answer.headers;
}

/** Waits until the page tells this of its last answer. */
async function answered(page, ...words) {
  await page.waitForFunction(
    (wanted) => {
      const badge = document.getElementById("cache");
      return !badge.hidden && wanted.includes(badge.textContent);
    },
    words,
  );
}

async function pictureSize(page) {
  return page.$eval("#avatar", (image) => (image.hidden ? 0 : image.naturalWidth));
}

async function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
}

async function picture(page, name) {
  if (screenshots) await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
}

test("a text shows its hash, traits, prompt, seed and avatar; MISS first, then HIT", async () => {
  await withPage({}, async (page) => {
    await page.goto(ready.demo);
    await answered(page, "MISS", "JOINED", "HIT"); // The text that the page begins with.
    const text = fresh("Fällt");
    const promptBefore = await page.textContent("#prompt");
    await page.fill("#text", text);
    await page.click("#show");
    await page.waitForFunction((hash) => document.getElementById("md5").textContent === hash, md5(text));
    await answered(page, "MISS");
    assert.equal(await page.textContent("#sha256"), sha256(text));
    assert.ok((await page.locator("#traits li").count()) >= 10);
    assert.notEqual(await page.textContent("#prompt"), promptBefore);
    assert.match(await page.textContent("#seed"), /^\d+$/);
    assert.match(await page.textContent("#took"), /^[\d.]+ m?s$/);
    assert.ok((await pictureSize(page)) >= 64);
    assert.ok((await page.textContent("#link-url")).endsWith(`/avatar/${md5(text)}?s=256`));
    await page.click("#again");
    await answered(page, "HIT");
    assert.match(await page.textContent("#earlier"), /MISS/);
    await picture(page, "desktop-light");
    // What the page says is what a client without a page gets.
    const plain = await headersOf(`/avatar/${md5(text)}?s=256`);
    assert.equal(plain.get("x-cache"), "HIT");
    assert.match(plain.get("content-type"), /^image\//);
  });
});

test("the text can be keyed by SHA-256, and an address is hashed in lower case", async () => {
  await withPage({}, async (page) => {
    const name = randomBytes(6).toString("hex");
    await page.goto(ready.demo);
    await answered(page, "MISS", "JOINED", "HIT");
    await page.fill("#text", ` Reader.${name}@Example.COM`);
    await page.check("input[value=sha256]");
    await page.waitForFunction(
      (hash) => document.getElementById("link-url").textContent.endsWith(`/avatar/${hash}?s=256`),
      sha256(`reader.${name}@example.com`),
    );
    await answered(page, "MISS", "HIT");
    assert.ok((await pictureSize(page)) >= 64);
  });
});

test("fifty requests for a fresh key are one origin call", async () => {
  await withPage({}, async (page) => {
    await page.goto(ready.demo);
    await page.click("#burst");
    await page.waitForFunction(() => document.getElementById("burst-calls").textContent !== "");
    assert.equal(await page.textContent("#burst-calls"), "1 origin call");
    const counts = await page.textContent("#burst-counts");
    const of = (word) => Number(counts.match(new RegExp(`(\\d+) ${word}`))?.[1] ?? 0);
    assert.equal(of("MISS"), 1, counts);
    assert.equal(of("MISS") + of("JOINED") + of("HIT"), 50, counts);
    assert.equal(of("FAILED"), 0, counts);
  });
});

test("all of it by keyboard alone", async () => {
  await withPage({}, async (page) => {
    await page.goto(ready.demo);
    await answered(page, "MISS", "JOINED", "HIT");
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className);
    const tabTo = async (wanted) => {
      for (let press = 0; press < 30; press += 1) {
        if ((await focused()) === wanted) return;
        await page.keyboard.press("Tab");
      }
      assert.fail(`Tab never reaches ${wanted}`);
    };
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "skip");
    await tabTo("text");
    await page.keyboard.press("Control+A");
    const text = fresh("keys");
    await page.keyboard.type(text);
    await page.keyboard.press("Enter");
    await page.waitForFunction((hash) => document.getElementById("md5").textContent === hash, md5(text));
    await answered(page, "MISS");
    await tabTo("again");
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, "none");
    await page.keyboard.press("Enter");
    await answered(page, "HIT");
    await tabTo("burst");
    await page.keyboard.press("Space");
    await page.waitForFunction(() => document.getElementById("burst-calls").textContent === "1 origin call");
  });
});

for (const [name, width, colorScheme] of [
  ["phone", 390, "light"],
  ["narrow", 320, "dark"],
  ["desktop-dark", 1200, "dark"],
]) {
  test(`at ${width} pixels, ${colorScheme}: nothing sticks out, and axe finds nothing`, async () => {
    const options = { viewport: { width, height: 800 }, colorScheme, hasTouch: width < 500, isMobile: width < 500 };
    await withPage(options, async (page) => {
      await page.goto(ready.demo);
      await page.fill("#text", fresh("A rather long text to type on a telephone"));
      await page.click("#show");
      await answered(page, "MISS");
      await page.click("#burst");
      await page.waitForFunction(() => document.getElementById("burst-calls").textContent === "1 origin call");
      assert.ok((await overflow(page)) <= 0, "the page scrolls sideways");
      await picture(page, name);
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate(() => window.axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`), []);
    });
  });
}

test("a busy server is asked again after as long as it says", async () => {
  await withPage({}, async (page) => {
    await page.goto(ready.demo);
    await answered(page, "MISS", "JOINED", "HIT");
    let refusals = 1;
    await page.route("**/avatar/*", async (route) => {
      if (refusals === 0) return route.continue();
      refusals -= 1;
      await route.fulfill({ status: 503, headers: { "retry-after": "1" }, body: "" });
    });
    await page.fill("#text", fresh("busy"));
    await page.click("#show");
    await page.waitForFunction(() => /asking again in 1 s/.test(document.getElementById("placeholder").textContent));
    await answered(page, "MISS");
    assert.ok((await pictureSize(page)) >= 64);
    assert.equal(refusals, 0);
  });
});

test("a placeholder is shown while the model works, and is no avatar", async () => {
  await withPage({}, async (page) => {
    await page.goto(ready.demo);
    await answered(page, "MISS", "JOINED", "HIT");
    const grey = await (await fetch(`${ready.s3}/avatar/${md5("nobody")}.png?d=mp&s=64`)).arrayBuffer();
    let refusals = 1;
    await page.route("**/avatar/*", async (route) => {
      if (refusals === 0) return route.continue();
      refusals -= 1;
      const headers = { "retry-after": "2", "cache-control": "no-store", "content-type": "image/png" };
      await route.fulfill({ status: 503, headers, body: Buffer.from(grey) });
    });
    await page.fill("#text", fresh("slow"));
    await page.click("#show");
    await page.waitForFunction(() => /asking again in [12] s/.test(document.getElementById("placeholder").textContent));
    assert.equal(await pictureSize(page), 64);
    assert.equal(await page.getAttribute("#avatar", "alt"), "Avatar of nobody yet");
    await picture(page, "placeholder");
    await answered(page, "MISS");
    assert.equal(await pictureSize(page), 256);
  });
});

test("without JavaScript the page still shows hash, prompt and avatar", async () => {
  await withPage({ javaScriptEnabled: false }, async (page) => {
    const text = fresh("plain");
    await page.goto(ready.demo);
    await page.fill("#text", text);
    await page.click("#show");
    await page.waitForURL(/text=/);
    assert.equal(await page.textContent("#md5"), md5(text));
    const picture = page.locator("noscript img, .frame img:visible").first();
    assert.equal(await picture.getAttribute("src"), `/avatar/${md5(text)}?s=256`);
    assert.equal((await headersOf(`/avatar/${md5(text)}?s=256`)).get("x-cache"), "HIT");
  });
});
