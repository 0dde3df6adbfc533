// A whole origin: /any-bucket/hello falls through to here.  node hello.mjs [port]
import { createServer } from "node:http";

const server = createServer(({ method, url }, response) => {
  const answer = (status, body) =>
    response.writeHead(status, { "Content-Type": "text/plain", "Content-Length": Buffer.byteLength(body) }).end(body);
  let key;
  try {
    // Not `new URL`, which resolves `..`: that is part of a key's name.
    key = decodeURIComponent(url.split("?")[0].replace(/^\/+[^/]*\/?/, ""));
  } catch {
    return answer(400, "a key is UTF-8, in percent escapes\n");
  }
  if (method !== "GET" && method !== "HEAD") return answer(405, "this origin is only read\n");
  if (!key) return answer(501, "this origin has no list\n");
  return key === "hello" ? answer(200, "hello, world\n") : answer(404, "no such key\n");
});
server.keepAliveTimeout = 75_000; // 5 s by default: a bucket keeps its connections for longer
server.listen(process.argv[2] ?? 8090, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
