// The files in a ZIP archive as objects: node zip.mjs ARCHIVE [port]
//
// Each is unpacked while it is sent, with the checksum that the archive has of it: the bucket in front verifies that
// before it keeps anything. The archive is opened once; one that is put in its place is seen after a restart.
import { open } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";
import { pipeline } from "node:stream/promises";
import { createInflateRaw } from "node:zlib";

const TYPES = {
  ".css": "text/css", ".gif": "image/gif", ".html": "text/html", ".jpg": "image/jpeg", ".js": "text/javascript",
  ".json": "application/json", ".md": "text/markdown", ".pdf": "application/pdf", ".png": "image/png",
  ".svg": "image/svg+xml", ".txt": "text/plain", ".webp": "image/webp",
};
const [STORED, DEFLATED] = [0, 8];
const PIECE_BYTES = 64 * 1024;
const END = 0x06054b50, ENTRY = 0x02014b50, LOCAL = 0x04034b50;

async function read(file, offset, length) {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
  if (bytesRead !== length) throw new Error("the archive is cut off");
  return buffer;
}

// What the archive's directory tells, by name. An archive that is not wholly understood is refused at the start.
async function entries(file) {
  const { size } = await file.stat();
  // The directory's end is the last thing in the file but for a comment of at most 64 KiB.
  const tail = await read(file, Math.max(0, size - 65557), Math.min(size, 65557));
  let end = tail.length - 22;
  while (end >= 0 && tail.readUInt32LE(end) !== END) end--;
  if (end < 0) throw new Error("this is no ZIP archive");
  const [count, length, offset] = [tail.readUInt16LE(end + 10), tail.readUInt32LE(end + 12), tail.readUInt32LE(end + 16)];
  if (count === 0xffff || offset === 0xffffffff) throw new Error("ZIP64 is not supported: pack it in several archives");
  const directory = await read(file, offset, length);
  const found = new Map();
  for (let at = 0, seen = 0; seen < count; seen++) {
    if (at + 46 > length || directory.readUInt32LE(at) !== ENTRY) throw new Error("the archive's directory is damaged");
    const entry = {
      encrypted: directory.readUInt16LE(at + 8) & 1,
      method: directory.readUInt16LE(at + 10),
      crc32: directory.subarray(at + 16, at + 20).reverse(),
      packed: directory.readUInt32LE(at + 20),
      size: directory.readUInt32LE(at + 24),
      offset: directory.readUInt32LE(at + 42),
    };
    const nameEnd = at + 46 + directory.readUInt16LE(at + 28);
    const name = directory.subarray(at + 46, nameEnd).toString("utf8");
    at = nameEnd + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
    if (name.endsWith("/")) continue; // A folder.
    if (entry.encrypted || ![STORED, DEFLATED].includes(entry.method)) throw new Error(`${name}: encrypted, or packed in an unknown way`);
    found.set(name, entry);
  }
  return found;
}

// The packed bytes of an entry, a piece at a time and no faster than they are taken.
async function* pieces(file, offset, length) {
  for (let at = 0; at < length; at += PIECE_BYTES) yield await read(file, offset + at, Math.min(PIECE_BYTES, length - at));
}

// Fails if there are more or fewer bytes than promised: a cut-off body must not end as if it were whole.
async function* exactly(size, body) {
  for await (const piece of body) {
    size -= piece.length;
    if (size < 0) throw new Error("longer than its entry says");
    yield piece;
  }
  if (size > 0) throw new Error("shorter than its entry says");
}

async function send(file, entry, response) {
  const local = await read(file, entry.offset, 30);
  if (local.readUInt32LE(0) !== LOCAL) throw new Error("no entry where the directory says");
  const start = entry.offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
  const unpacking = entry.method === DEFLATED ? [createInflateRaw()] : [];
  // A failure destroys the response: the connection breaks, and nobody takes the half for the whole.
  await pipeline(pieces(file, start, entry.packed), ...unpacking, (body) => exactly(entry.size, body), response);
}

const file = await open(process.argv[2]);
const archive = await entries(file);

const server = createServer(async ({ method, url, headers }, response) => {
  const answer = (status, body) =>
    response.writeHead(status, { "Content-Type": "text/plain", "Content-Length": Buffer.byteLength(body) }).end(body);
  let key;
  try {
    key = decodeURIComponent(url.split("?")[0].replace(/^\/+[^/]*\/?/, ""));
  } catch {
    return answer(400, "a key is UTF-8, in percent escapes\n");
  }
  if (method !== "GET" && method !== "HEAD") return answer(405, "this origin is only read\n");
  if (!key) return answer(501, "this origin has no list\n");
  const entry = archive.get(key);
  if (!entry) return answer(404, "no such key\n");
  const etag = `"${entry.crc32.toString("hex")}-${entry.size.toString(16)}"`;
  const known = (headers["if-none-match"] ?? "").split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  if (known.includes(etag) || known.includes("*")) return response.writeHead(304, { ETag: etag }).end();
  response.writeHead(200, {
    "Content-Type": TYPES[extname(key).toLowerCase()] ?? "application/octet-stream",
    "Content-Length": entry.size,
    "ETag": etag,
    "x-amz-checksum-crc32": entry.crc32.toString("base64"),
  });
  if (method === "HEAD" || entry.size === 0) return response.end();
  try {
    await send(file, entry, response);
  } catch (error) {
    console.error(`${key}: ${error.message}`);
    response.destroy();
  }
});
server.keepAliveTimeout = 75_000;
server.listen(process.argv[3] ?? 8090, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
