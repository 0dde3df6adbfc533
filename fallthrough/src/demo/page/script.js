// What only a browser can tell: MISS, JOINED or HIT, and how long it took. The page works without it.
"use strict";

const byId = (id) => document.getElementById(id);
const form = byId("ask");
const input = byId("text");
const tiers = byId("tiers");
const frame = byId("frame");

// Longest that one press of "Show" goes on asking a busy server.
const ATTEMPTS_MAX = 12;

let current = null; // what is being shown: { key, path }
let shownUrl = null; // the picture's object URL, released when the next one comes
let asking = null; // AbortController of the ask under way

const kind = () => form.elements.hash.value;

/** Milliseconds as people read them. */
function milliseconds(ms) {
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 10000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Waits for `ms`, or until the ask is given up. */
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("given up", "AbortError"));
    });
  });
}

/** One GET of an object, past the browser's own cache, timed until its last byte. */
async function getObject(path, signal) {
  const start = performance.now();
  const answer = await fetch(path, { cache: "no-store", signal });
  const body = await answer.blob();
  return {
    status: answer.status,
    cache: answer.headers.get("x-cache") || (answer.ok ? "HIT" : "FAILED"),
    retryAfterSecs: Number.parseInt(answer.headers.get("retry-after") || "", 10),
    ms: performance.now() - start,
    body,
  };
}

/** The same, again after as long as a busy server says. */
async function patiently(path) {
  for (let attempt = 1; ; attempt += 1) {
    const got = await getObject(path);
    if (got.status !== 503 || attempt === ATTEMPTS_MAX) return got;
    await pause(waitSecs(got) * 1000, new AbortController().signal);
  }
}

/** How long a busy server wants to be left alone, in seconds. */
function waitSecs(got) {
  return Number.isFinite(got.retryAfterSecs) ? Math.max(1, got.retryAfterSecs) : 2;
}

/** What follows from a text, by the code that the avatar origin uses. */
async function describe(text, signal) {
  const query = new URLSearchParams({ text, hash: kind() });
  const answer = await fetch(`/_demo/describe?${query}`, { signal });
  const described = await answer.json();
  if (!answer.ok) throw new Error(described.error);
  return described;
}

function showDescription(described) {
  for (const id of ["md5", "sha256", "hashed", "prompt", "seed"]) byId(id).textContent = described[id];
  byId("negative").textContent = described.negative_prompt;
  byId("hashed-row").hidden = described.hashed === described.text;
  byId("traits").replaceChildren(
    ...described.traits.map(({ name, value }) => {
      const item = document.createElement("li");
      const label = document.createElement("span");
      const word = document.createElement("span");
      label.className = "name";
      label.textContent = name;
      word.className = "value";
      word.textContent = value;
      item.append(label, " ", word);
      return item;
    }),
  );
  const url = `${location.origin}${described.path}`;
  byId("link-url").textContent = url;
  byId("link-curl").textContent = `curl -so avatar.jpg -w '%header{x-cache} %{time_total} s\\n' '${url}'`;
  byId("link-s3").textContent =
    `aws s3 cp --no-sign-request --endpoint-url ${location.origin} s3://avatar/${described.key}/256.jpg avatar.jpg`;
}

/** Which tiers answered, in words and in the picture. */
function showWay(cache, took) {
  const asked = cache === "MISS" || cache === "JOINED" ? "3" : "1";
  tiers.dataset.asked = asked;
  const words = {
    MISS: [`It was not here: the request fell through and came back in ${took}.`, "Was asked.", "Drew it."],
    JOINED: ["It was not here, but on its way already: this request joined it.", "Was asked once, by somebody else.", "Drew it once."],
    HIT: [`It is here: answered in ${took}.`, "Was not asked.", "Was not asked."],
  }[cache] || ["", "", ""];
  const rest = ["", "Each digit of the key chooses a trait.", "Draws what the prompt says; the seed makes it the same every time."];
  words.forEach((word, index) => {
    byId(`part-${index + 1}`).textContent = [word, rest[index]].filter(Boolean).join(" ");
  });
}

function showVerdict(cache, text) {
  const badge = byId("cache");
  badge.hidden = cache === "";
  badge.textContent = cache;
  badge.dataset.cache = cache;
  byId("took").textContent = text;
}

function showPlaceholder(text) {
  const placeholder = byId("placeholder");
  placeholder.textContent = text;
  placeholder.hidden = text === "";
}

async function showPicture(body, text) {
  const image = byId("avatar");
  const url = URL.createObjectURL(body);
  image.src = url;
  image.alt = `Avatar of ${text}`;
  if (shownUrl) URL.revokeObjectURL(shownUrl);
  shownUrl = url;
  await image.decode();
  showPlaceholder("");
  image.hidden = false;
  frame.classList.remove("arrived");
  void frame.offsetWidth; // Starts the animation anew.
  frame.classList.add("arrived");
}

/** Asks for the avatar until it is here or the server has said no for good. */
async function ask(text, { again = false } = {}) {
  if (asking) asking.abort();
  const mine = (asking = new AbortController());
  const { signal } = mine;
  frame.classList.add("waiting");
  tiers.dataset.falling = "";
  if (!again) byId("earlier").textContent = "";
  const before = again ? `${byId("cache").textContent} ${byId("took").textContent}` : "";
  showVerdict("", "falling through …");
  try {
    const described = await describe(text, signal);
    current = { key: described.key, path: described.path, text };
    showDescription(described);
    for (let attempt = 1; ; attempt += 1) {
      const got = await getObject(described.path, signal);
      const took = milliseconds(got.ms);
      if (got.status === 200) {
        await showPicture(got.body, text);
        showVerdict(got.cache, took);
        showWay(got.cache, took);
        if (before) byId("earlier").textContent = `before that: ${before}`;
        break;
      }
      if (got.status === 503 && attempt < ATTEMPTS_MAX) {
        const secs = waitSecs(got);
        // With the refusal comes a picture of nobody, to be looked at meanwhile.
        if (got.body.type.startsWith("image/")) await showPicture(got.body, "nobody yet");
        for (let left = secs; left > 0; left -= 1) {
          showPlaceholder(`The model is busy drawing. It goes on without us; asking again in ${left} s.`);
          await pause(1000, signal);
        }
        continue;
      }
      byId("avatar").hidden = true;
      showPlaceholder("No avatar this time.");
      showVerdict("", `the server answered ${got.status}`);
      break;
    }
    byId("again").hidden = false;
  } catch (error) {
    if (error.name === "AbortError") return;
    byId("avatar").hidden = true;
    showPlaceholder(error.message || "The server cannot be reached.");
    showVerdict("", "no answer");
  } finally {
    if (asking === mine) {
      asking = null;
      frame.classList.remove("waiting");
      delete tiers.dataset.falling;
    }
  }
}

/** Hash, traits and prompt follow the typing; the avatar is only asked for on "Show". */
let typing = null;
async function follow() {
  if (typing) typing.abort();
  const mine = (typing = new AbortController());
  try {
    await pause(120, mine.signal);
    showDescription(await describe(input.value, mine.signal));
    // What is shown is not yet what is described.
    delete tiers.dataset.asked;
  } catch {
    // Given up for a later key press, or the server is away: "Show" will tell.
  }
}

function show() {
  if (typing) typing.abort();
  const query = new URLSearchParams({ text: input.value, hash: kind() });
  history.replaceState(null, "", `/_demo?${query}`);
  return ask(input.value);
}

/** Many requests for a key that nobody has asked for, and how often the origin was really called. */
async function burst() {
  const button = byId("burst");
  const dots = [...byId("dots").children];
  const count = Number(button.dataset.count);
  button.disabled = true;
  byId("burst-calls").textContent = "";
  byId("burst-counts").textContent = "asking …";
  for (const dot of dots) delete dot.dataset.cache;
  const key = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const start = performance.now();
  const counts = {};
  try {
    await Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const got = await patiently(`/avatar/${key}?s=256`).catch(() => ({ status: 0, cache: "FAILED" }));
        const word = got.status === 200 ? got.cache : "FAILED";
        counts[word] = (counts[word] || 0) + 1;
        if (dots[index]) dots[index].dataset.cache = word;
      }),
    );
    const took = milliseconds(performance.now() - start);
    const { calls } = await (await fetch(`/_demo/calls?key=${key}`)).json();
    byId("burst-calls").textContent = `${calls} origin call${calls === 1 ? "" : "s"}`;
    const words = ["MISS", "JOINED", "HIT", "FAILED"].filter((word) => counts[word]);
    byId("burst-counts").textContent = `${words.map((word) => `${counts[word]} ${word}`).join(" · ")} in ${took}`;
  } catch {
    byId("burst-counts").textContent = "The server cannot be reached.";
  } finally {
    button.disabled = false;
  }
}

/** Copies a line; on plain HTTP from another machine browsers offer only the old way. */
async function copy(button) {
  const source = byId(button.dataset.copy);
  let copied = false;
  try {
    await navigator.clipboard.writeText(source.textContent);
    copied = true;
  } catch {
    const range = document.createRange();
    range.selectNodeContents(source);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    copied = document.execCommand("copy");
  }
  button.textContent = copied ? "Copied" : "Selected";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  show();
});
input.addEventListener("input", follow);
for (const choice of form.elements.hash) choice.addEventListener("change", show);
byId("again").addEventListener("click", () => current && ask(current.text, { again: true }));
byId("burst").addEventListener("click", burst);
for (const chip of document.querySelectorAll(".chip")) {
  chip.addEventListener("click", (event) => {
    event.preventDefault();
    input.value = chip.dataset.text;
    show();
  });
}
for (const button of document.querySelectorAll(".copy")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}
byId("burst").hidden = false;
ask(input.value);
